// The camera: the newest frame is classified whenever the network is free.

const MESSAGES = {
  NotAllowedError: "The browser was not allowed to use the camera.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program is using the camera.",
};

export class Camera {
  #video;
  #calls;
  #stream = null;

  constructor(video, calls) {
    this.#video = video;
    this.#calls = calls;
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
  }

  get on() {
    return this.#stream !== null;
  }

  async toggle() {
    if (this.on) return this.stop();
    const wanted = { video: { facingMode: "environment", width: { ideal: 640 } }, audio: false };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      throw new Error(MESSAGES[error.name] ?? `The camera cannot be used (${error.message}).`);
    }
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    this.#calls.started(this.#video);
    this.#loop(this.#stream);
  }

  async #loop(stream) {
    try {
      while (this.#stream === stream) {
        await new Promise((done) => this.#video.requestVideoFrameCallback?.(done) ?? requestAnimationFrame(done));
        if (this.#stream === stream) await this.#calls.frame(this.#video);
      }
    } catch (error) {
      this.stop();
      this.#calls.failed(error);
    }
  }

  stop() {
    if (!this.on) return;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
    this.#calls.stopped();
  }
}
