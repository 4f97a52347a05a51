async ([url, letter]) => {
  const seen = [];
  const act = url + "/celeriac/action/discard";
  for (const type of ["application/json", "text/plain"]) {
    for (const mode of ["cors", "no-cors"]) {
      try {
        const body = JSON.stringify({ dead_letter: letter });
        const headers = { "Content-Type": type };
        const options = { method: "POST", mode, credentials: "include", headers, body };
        const answer = await fetch(act, options);
        seen.push(answer.type + " " + answer.status);
      } catch (error) {
        seen.push("refused");
      }
    }
  }
  try {
    const answer = await fetch(url + "/events", { credentials: "include" });
    seen.push((await answer.text()).length);
  } catch (error) {
    seen.push("unread");
  }
  const pause = () => new Promise((done) => setTimeout(done, 700));
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: act, enctype: "text/plain", target: "hole" });
  const field = document.createElement("input");
  field.name = '{"dead_letter": "' + letter + '", "x": "';
  field.value = '"}';
  const frame = document.createElement("iframe");
  frame.name = "hole";
  form.append(field);
  document.body.append(form, frame);
  form.submit();
  await pause();
  const framed = document.createElement("iframe");
  framed.src = url + "/dead";
  document.body.append(framed);
  await pause();
  return seen;
}
