// The two wires: the official client's transport for each, and ears for what the bot sends on it.
//
// The media manager that the transports have by default loads a library from a server of Daily's.
// The one here comes with them as well.

import * as webrtc from "@pipecat-ai/small-webrtc-transport";
import * as websocket from "@pipecat-ai/websocket-transport";

import { tell } from "./telling.js";
import { Tone } from "./tone.js";

const RATE = 16000;

class Listening extends websocket.WavMediaManager {
  constructor(tone) {
    super(512, RATE);
    this.tone = tone;
  }

  bufferBotAudio(samples, id) {
    this.tone.hear(Float32Array.from(samples, (sample) => sample / 32768), 24000);
    return super.bufferBotAudio(samples, id);
  }
}

export class WebSocketWire {
  tone = new Tone();
  transport = new websocket.WebSocketTransport({
    mediaManager: new Listening(this.tone),
    recorderSampleRate: RATE,
  });

  connect(client, url) {
    return client.connect({ wsUrl: url });
  }

  // What the bot answers to this client, it refuses to connect with: there is an id in it.
  async start(client, url) {
    const { wsUrl } = await client.startBot({ endpoint: url, requestData: {} });
    return client.connect({ wsUrl });
  }

  hearTrack() {}
}

const { send } = RTCDataChannel.prototype;
RTCDataChannel.prototype.send = function (message) {
  if (message.startsWith("ping: ")) tell("pinged");
  send.call(this, message);
};

const EARS = `registerProcessor("ears", class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(samples);
    return true;
  }
});`;

export class WebRtcWire {
  tone = new Tone();
  transport = new webrtc.SmallWebRTCTransport({
    mediaManager: new webrtc.WavMediaManager(512, RATE),
  });
  #context = new AudioContext();
  #ears = this.#context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(EARS)}`);

  connect(client, url) {
    return client.connect({ webrtcRequestParams: { endpoint: url } });
  }

  start(client, url) {
    return client.startBotAndConnect({ endpoint: url, requestData: { transport: "webrtc" } });
  }

  async hearTrack(track) {
    const stream = new MediaStream([track]);
    // Chromium has no sound for Web Audio that is not played as well.
    this.player = new Audio();
    this.player.muted = true;
    this.player.srcObject = stream;
    await this.#ears;
    const ears = new AudioWorkletNode(this.#context, "ears");
    ears.port.onmessage = ({ data }) => this.tone.hear(data, this.#context.sampleRate);
    this.#context.createMediaStreamSource(stream).connect(ears);
  }

  // What may happen to a connection of this kind, and the conversation goes on.
  async upset(client, heardFromNowOn) {
    const renegotiated = new Promise((resolve) => {
      this.transport.pc.addEventListener("signalingstatechange", ({ target }) => {
        if (target.signalingState === "stable") resolve();
      });
    });
    client.sendClientMessage("renegotiate", {});
    await renegotiated;
    await heardFromNowOn("heard after renegotiating");

    // What the client does of its own accord when ICE fails.
    await this.transport.attemptReconnection(true);
    const { dc } = this.transport;
    if (dc.readyState !== "open") {
      await new Promise((resolve) => dc.addEventListener("open", resolve));
    }
    await heardFromNowOn("heard after restarting");
    await tell("microphone", this.transport.tracks().local.audio.readyState);
  }
}
