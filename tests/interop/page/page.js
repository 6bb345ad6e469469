// A conversation by the official JavaScript client, step by step; everything seen is told to the
// test that serves this page, which knows what should have been seen.

import { LogLevel, PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";
import { WavMediaManager, WebSocketTransport } from "@pipecat-ai/websocket-transport";

const wsUrl = new URLSearchParams(location.search).get("ws");

let telling = Promise.resolve();

function tell(kind, data) {
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

// The media manager that the transport has by default loads a library from a server of Daily's.
// This one comes with it as well. Subclassed only to measure what it is given to play.
class Ears extends WavMediaManager {
  seconds = 0;
  peak = 0;

  bufferBotAudio(samples, id) {
    this.seconds += samples.length / 24000;
    this.peak = samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), this.peak);
    return super.bufferBotAudio(samples, id);
  }
}

const ears = new Ears(512, 16000);
const client = new PipecatClient({
  transport: new WebSocketTransport({ mediaManager: ears, recorderSampleRate: 16000 }),
  enableMic: true,
  enableCam: false,
  callbacks: {
    onTransportStateChanged: (state) => tell("state", state),
    onConnected: () => tell("connected"),
    onDisconnected: () => tell("disconnected"),
    onBotReady: (data) => tell("bot-ready", data),
    onError: (message) => tell("error", message),
    onMessageError: (message) => tell("message-error", message),
    onUserLlmText: (data) => tell("user-llm-text", data.text),
    onBotOutput: (data) => tell("bot-output", data),
    onBotStartedSpeaking: () => tell("bot-started-speaking"),
    onBotStoppedSpeaking: () => tell("bot-stopped-speaking"),
    onBotTtsText: (data) => tell("bot-tts-text", data.text),
    onLLMFunctionCallStopped: (data) => tell("function-stopped", data),
  },
});
client.setLogLevel(LogLevel.WARN);

function next(event) {
  return new Promise((resolve) => client.once(event, resolve));
}

async function converse() {
  const greeted = next(RTVIEvent.BotStoppedSpeaking);
  await tell("connect returned", await client.connect({ wsUrl }));
  await greeted;

  const answered = next(RTVIEvent.BotStoppedSpeaking);
  await client.sendText("good morning");
  await answered;

  await tell("response", await client.sendClientRequest("ping", { deep: [1, null, "é"] }));
  try {
    await tell("response", await client.sendClientRequest("fail", {}));
  } catch (refusal) {
    await tell("refusal", refusal);
  }

  client.registerFunctionCallHandler("get_weather", async (call) => {
    await tell("function called", { name: call.functionName, arguments: call.arguments });
    return { sky: "clear" };
  });
  const reported = next(RTVIEvent.BotStoppedSpeaking);
  client.sendClientMessage("function", { city: "Oslo" });
  await reported;

  await tell("ears", { seconds: ears.seconds, peak: ears.peak });
  await client.disconnect();

  await tell("second call");
  const left = next(RTVIEvent.Disconnected);
  await client.connect({ wsUrl });
  client.disconnectBot();
  await left;
}

converse()
  .catch((error) => tell("failed", String(error?.stack ?? JSON.stringify(error))))
  .finally(() => tell("done"));
