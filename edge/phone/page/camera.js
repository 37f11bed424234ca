// Opens the rear camera, or another one if there is none. Controls its torch, zoom and focus if it has them.

// The frame size, as on the Raspberry Pi. Resizing larger frames would take half as long as the network itself.
const WANTED = {
  audio: false,
  video: { facingMode: { ideal: "environment" }, width: { ideal: 640 }, height: { ideal: 480 } },
};
const REASONS = {
  NotAllowedError: "the camera is not allowed: allow it for this page in the browser's settings",
  NotFoundError: "there is no camera: choose a photo",
  // WebKit's error if there is no camera
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

  // Calls `onLost` when the camera is gone. Throws an Error whose text is shown to the user.
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
    // if a phone refuses a setting, the former setting stays
    await this.#track?.applyConstraints({ advanced: [constraint] }).catch(() => {});
  }

  // Focuses on a point of the frame, whose coordinates go from 0 to 1.
  async focusAt(x, y) {
    const focusMode = ["single-shot", "continuous"].find((mode) => this.offers.focus?.includes(mode));
    if (focusMode) await this.set({ focusMode, pointsOfInterest: [{ x, y }] });
  }
}
