// Tells the test that serves this page what happens in it.

const { fetch } = window;
let telling = Promise.resolve();

export function tell(kind, data) {
  const body = JSON.stringify({ kind, data });
  telling = telling.then(() => fetch("/log", { method: "POST", body }));
  return telling;
}

addEventListener("error", (event) => tell("uncaught", event.message));
addEventListener("unhandledrejection", (event) => tell("uncaught", String(event.reason)));
const complain = console.error;
console.error = (...words) => {
  tell("complaint", words.map(String).join(" "));
  complain(...words);
};

window.fetch = async (resource, options) => {
  const answer = await fetch(resource, options);
  const { pathname } = new URL(answer.url);
  tell("request", [options?.method ?? resource.method ?? "GET", pathname, answer.status]);
  return answer;
};
