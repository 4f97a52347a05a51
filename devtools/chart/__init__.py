"""The Helm chart in deploy/helm: rendered, and compared with deploy/rendered."""
