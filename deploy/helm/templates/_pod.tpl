{{- /* Names and labels. Arguments: (list $ "component" ["service"]) */ -}}
{{- define "celeriac.name" -}}
{{- $root := index . 0 -}}
{{- printf "%s-%s" $root.Release.Name (index . 1) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "celeriac.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "celeriac.labels" -}}
{{- $root := index . 0 -}}
{{ include "celeriac.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{- define "celeriac.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .Values.image.repository }}@{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- /* What all pods have in common. */ -}}
{{- define "celeriac.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
# Kubernetes would set CELERIAC_… variables for a Service of such a name.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "celeriac.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{- define "celeriac.tmp" -}}
- name: tmp
  emptyDir: { medium: Memory, sizeLimit: 64Mi }
{{- end -}}

{{- define "celeriac.secret" -}}
secretKeyRef: { name: {{ .name }}, key: {{ .key }} }
{{- end -}}

{{- /* Variables of all pods. Secrets come first, since $(…) refers to earlier ones. */ -}}
{{- define "celeriac.environment" -}}
{{- if .Values.valkey.enabled }}
- name: VALKEY_PASSWORD
  valueFrom: { {{ include "celeriac.secret" .Values.secrets.valkeyPassword }} }
- name: CELERIAC_REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "celeriac.name" (list . "valkey") }}:6379/0
{{- else }}
- name: CELERIAC_REDIS_URL
  valueFrom: { {{ include "celeriac.secret" .Values.secrets.redisUrl }} }
{{- end }}
{{- include "celeriac.variables" .Values.environment }}
{{- end -}}

{{- /* Variables from Secrets: name → reference. */ -}}
{{- define "celeriac.references" -}}
{{- range $name, $reference := . }}
- name: {{ $name }}
  valueFrom: { {{ include "celeriac.secret" $reference }} }
{{- end }}
{{- end -}}

{{- define "celeriac.variables" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- /* `quote` would make 1e+06 of a million. */}}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end -}}
