// The rear camera, or another where there is none, with its torch, zoom and focus where it has them.

// The size that the network needs, as on the Pi. More pixels would take half as long to resize as the network takes.
const WANTED = {
  audio: false,
  video: { facingMode: { ideal: "environment" }, width: { ideal: 640 }, height: { ideal: 480 } },
};
const REASONS = {
  NotAllowedError: "the camera is not allowed: allow it for this page in the browser's settings",
  NotFoundError: "there is no camera: choose a photo",
  // what WebKit says of none
  OverconstrainedError: "there is no camera: choose a photo",
  NotReadableError: "another program has the camera: close it, and start again",
};

export class Camera {
  #video;
  #track = null;

  constructor(video) {
    this.#video = video;
  }

  get isOpen() {
    return this.#track !== null;
  }

  // Calls back when the camera is gone. Throws an Error whose text is for a person.
  async open(onLost) {
    if (!navigator.mediaDevices) throw new Error("the browser gives a camera only to pages with HTTPS: choose a photo");
    try {
      const stream = await navigator.mediaDevices.getUserMedia(WANTED);
      this.close();
      this.#track = stream.getVideoTracks()[0];
      this.#track.onended = () => {
        this.close();
        onLost();
      };
      this.#video.srcObject = stream;
      await this.#video.play();
    } catch (error) {
      throw new Error(REASONS[error.name] ?? error.message, { cause: error });
    }
  }

  close() {
    this.#track?.stop();
    this.#track = null;
    this.#video.srcObject = null;
  }

  // { torch, zoom: { min, max, step } or undefined, focus }; Firefox knows no capabilities.
  get offers() {
    const { torch, zoom, focusMode } = this.#track?.getCapabilities?.() ?? {};
    return { torch: Boolean(torch), zoom: zoom?.max > zoom?.min ? zoom : undefined, focus: focusMode };
  }

  async set(constraint) {
    // a phone that refuses one of them goes on as it was
    await this.#track?.applyConstraints({ advanced: [constraint] }).catch(() => {});
  }

  // Focuses on a point of the frame, whose coordinates go from 0 to 1.
  async focusAt(x, y) {
    const focusMode = ["single-shot", "continuous"].find((mode) => this.offers.focus?.includes(mode));
    if (focusMode) await this.set({ focusMode, pointsOfInterest: [{ x, y }] });
  }
}
