// Opens the rear camera, or another camera if the phone has no rear camera. Controls torch, zoom and focus if the
// camera has them.

// The frames have the same size as on the Raspberry Pi. Larger frames would be too slow: to resize a frame would take
// half of the time that the network takes.
const WANTED = {
  audio: false,
  video: { facingMode: { ideal: "environment" }, width: { ideal: 640 }, height: { ideal: 480 } },
};
const REASONS = {
  NotAllowedError: "this page may not use the camera: allow the camera for this page in the browser's settings",
  NotFoundError: "there is no camera: choose a photo",
  // WebKit's error if there is no camera
  OverconstrainedError: "there is no camera: choose a photo",
  NotReadableError: "another program uses the camera: close that program, and start the camera again",
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

  // Opens the camera. Calls `onLost` if the camera stops later. Throws an Error whose message is shown to the user.
  async open(onLost) {
    if (!navigator.mediaDevices) throw new Error("the browser allows the camera only over HTTPS: choose a photo");
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

  // Returns what the camera can do. `torch` tells whether it has a torch. `zoom` is { min, max, step }, and `focus` is
  // the list of focus modes. Zoom or focus is undefined if the camera does not have it, or if the browser does not tell.
  get offers() {
    const { torch, zoom, focusMode } = this.#track?.getCapabilities?.() ?? {};
    return { torch: Boolean(torch), zoom: zoom?.max > zoom?.min ? zoom : undefined, focus: focusMode };
  }

  // Changes a setting, and tells whether the phone accepted it. If the phone refuses it, the previous setting stays.
  async set(constraint) {
    try {
      await this.#track.applyConstraints({ advanced: [constraint] });
      return true;
    } catch {
      return false;
    }
  }

  // Focuses on a point of the frame. The coordinates of the point go from 0 to 1.
  async focusAt(x, y) {
    const focusMode = ["single-shot", "continuous"].find((mode) => this.offers.focus?.includes(mode));
    if (focusMode) await this.set({ focusMode, pointsOfInterest: [{ x, y }] });
  }
}
