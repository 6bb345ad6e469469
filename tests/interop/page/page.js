// A conversation by the official JavaScript client, step by step; everything seen is told to the
// test that serves this page, which knows what should have been seen.

import { LogLevel, PipecatClient, RTVIEvent } from "@pipecat-ai/client-js";

import { tell } from "./telling.js";
import { WebRtcWire, WebSocketWire } from "./wires.js";

const query = Object.fromEntries(new URLSearchParams(location.search));
const wire = query.wire === "webrtc" ? new WebRtcWire() : new WebSocketWire();

const client = new PipecatClient({
  transport: wire.transport,
  enableMic: true,
  enableCam: false,
  callbacks: {
    onTransportStateChanged: (state) => tell("state", state),
    onConnected: () => tell("connected"),
    onDisconnected: () => tell("disconnected"),
    onBotConnected: () => tell("bot-connected"),
    onBotDisconnected: () => tell("bot-disconnected"),
    onBotReady: (data) => tell("bot-ready", data),
    onError: (message) => tell("error", message),
    onMessageError: (message) => tell("message-error", message),
    onDeviceError: (error) => tell("device-error", String(error)),
    onTrackStarted: (track, participant) => {
      if (!participant?.local && track.kind === "audio") wire.hearTrack(track);
    },
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

function sleep(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

// Tell what the bot says that it hears: from now on, when what is on the way has come.
async function heardFromNowOn(kind) {
  await sleep(0.7);
  await client.sendClientRequest("heard", {});
  await sleep(1);
  await tell(kind, await client.sendClientRequest("heard", {}));
}

async function converse() {
  const greeted = next(RTVIEvent.BotStoppedSpeaking);
  await tell("connect returned", await wire.connect(client, query.url));
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

  await heardFromNowOn("heard");
  client.enableMic(false);
  await heardFromNowOn("heard while muted");
  client.enableMic(true);
  await heardFromNowOn("heard again");
  await tell("ears", wire.tone.result());

  await tell("hanging up");
  await client.disconnect();
}

async function converseAgain() {
  const left = next(RTVIEvent.Disconnected);
  await wire.start(client, query.start);
  await wire.upset?.(client, heardFromNowOn);
  client.disconnectBot();
  await left;
}

converse()
  .then(() => tell("second call"))
  .then(converseAgain)
  .catch((error) => tell("failed", String(error?.stack ?? JSON.stringify(error))))
  .finally(() => tell("done"));
