import { word } from "/other.js";

const seen = {};
const note = async (what, promise) => {
  const value = await Promise.race([
    Promise.resolve().then(promise).catch((error) => `failed: ${error}`),
    new Promise((done) => setTimeout(done, 600_000, "not in time")),
  ]);
  seen[what] = value;
  const item = document.createElement("li");
  item.textContent = `${what}: ${value}`;
  document.querySelector("#seen").append(item);
};
const sha256 = async (bytes) =>
  Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
const picture = document.querySelector("#picture");

await note("module", () => word);
await note("style", () => getComputedStyle(document.querySelector("h1")).color);
await note("imported style", () => getComputedStyle(document.querySelector("h1")).marginLeft);
await note("picture", () => picture.decode().then(() => `${picture.naturalWidth} by ${picture.naturalHeight}`));
await note("json", async () => (await (await fetch("/data.json")).json()).greeting);
await note("who asks", async () => (await (await fetch("/who")).json()).hashname);
await note("cookie", async () => {
  await fetch("/cookie");
  return (await (await fetch("/who")).json()).cookie;
});
await note("form", async () => (await fetch("/echo", { method: "POST", body: new URLSearchParams(new FormData(document.querySelector("#form"))) })).text());
await note("8 MiB there and back", async () => {
  const bytes = new Uint8Array(8 << 20).map((_, i) => (i * 2654435761) >>> 24);
  const answer = await fetch("/echo", { method: "POST", body: bytes });
  const back = await answer.arrayBuffer();
  return back.byteLength === bytes.length && (await sha256(back)) === (await sha256(bytes)) ? "the same" : `${back.byteLength} others`;
});
await note("24 at once", async () => {
  const answers = await Promise.all(Array.from({ length: 24 }, (_, i) => fetch(`/echo?${i}`).then((r) => r.text())));
  return answers.every((text, i) => text === String(i)) ? "all" : answers.join();
});
await note("stream", async () => { // each piece is written when the one before has been answered
  const reader = (await fetch("/pieces?key=1")).body.getReader();
  const pieces = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return pieces.join(" ");
    pieces.push(new TextDecoder().decode(value));
    await fetch("/next?key=1");
  }
});
await note("events", () => new Promise((done, failed) => {
  const events = new EventSource("/events");
  const seen = [];
  events.onmessage = (event) => {
    if (seen.push(event.data) === 3) { events.close(); done(seen.join(" ")); }
  };
  events.onerror = () => failed("closed");
}));
await note("cancelled", async () => {
  const stop = new AbortController();
  const endless = await fetch("/endless", { signal: stop.signal });
  await endless.body.getReader().read();
  stop.abort();
  return (await fetch("/endless-ended")).text();
});
await note("websocket", () => new Promise((done, failed) => {
  const socket = new WebSocket(`ws://${location.host}/socket`);
  socket.binaryType = "arraybuffer";
  const seen = [];
  socket.onopen = () => { socket.send("blåbær"); socket.send(new Uint8Array(100_000).fill(7)); };
  socket.onmessage = ({ data }) => {
    seen.push(typeof data === "string" ? data : `${data.byteLength} of ${new Uint8Array(data)[99_999]}`);
    if (seen.length === 2) socket.close(1000, "enough");
  };
  socket.onclose = ({ code, reason }) => done(`${seen.join(", ")}, closed ${code} ${reason}`);
  socket.onerror = () => failed("error");
}));
const parts = performance.getEntriesByType("resource");
await note("parts that failed", () => parts.filter((p) => p.responseStatus >= 400).map((p) => p.name).join() || "none");
document.title = "all has run";
await fetch("/report", { method: "POST", body: JSON.stringify(seen) });
