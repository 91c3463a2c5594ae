// Drawing a clip's scene into a canvas: crisp at any size, in the page's colours.

const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue(`--${role}`).trim();

export class Picture {
  // `view` is what is seen: of two clips the same, or lengths could not be compared.
  constructor(canvas, scene, view = scene.view) {
    this.canvas = canvas;
    this.scene = scene;
    this.view = view;
    this.watch = new ResizeObserver(() => this.draw(this.step ?? 0));
    this.watch.observe(canvas);
    this.ready = true;
    this.whenReady = Promise.resolve(true);
  }

  get steps() {
    return this.scene.frames.length;
  }

  get rate() {
    return this.scene.rate;
  }

  draw(step) {
    this.step = Math.max(0, Math.min(step, this.steps - 1));
    const { canvas, scene } = this;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.lineCap = pen.lineJoin = "round";
    const [left, right, bottom, top] = this.view;
    const scale = Math.min(width / (right - left), height / (top - bottom));
    const centre = [(left + right) / 2, (bottom + top) / 2];
    const at = ([x, y]) => [width / 2 + scale * (x - centre[0]), height / 2 - scale * (y - centre[1])];
    for (const shape of scene.still) this.shape(pen, shape, at);
    if (scene.track.length) {
      this.shape(pen, { kind: "line", points: scene.track.slice(0, this.step + 1), role: "track", width: 2 }, at);
    }
    for (const shape of scene.frames[this.step]) this.shape(pen, shape, at);
  }

  shape(pen, shape, at) {
    pen.fillStyle = pen.strokeStyle = colour(shape.role);
    if (shape.kind === "line") {
      pen.lineWidth = shape.width;
      pen.beginPath();
      shape.points.forEach((point, i) => (i ? pen.lineTo(...at(point)) : pen.moveTo(...at(point))));
      pen.stroke();
    } else if (shape.kind === "dot") {
      pen.beginPath();
      pen.arc(...at(shape.at), shape.radius, 0, 2 * Math.PI);
      pen.fill();
    } else if (shape.kind === "box") {
      const [left, bottom, right, top] = shape.corners;
      const [x, y] = at([left, top]);
      const [toX, toY] = at([right, bottom]);
      pen.fillRect(x, y, toX - x, toY - y);
    } else if (shape.kind === "text") {
      pen.font = "12px system-ui, sans-serif";
      pen.fillText(shape.text, ...at(shape.at));
    }
  }

  close() {
    this.watch.disconnect();
  }
}

// The view that shows all that several scenes show.
export function jointView(scenes) {
  const [left, right, bottom, top] = [0, 1, 2, 3].map((side) => scenes.map((scene) => scene.view[side]));
  return [Math.min(...left), Math.max(...right), Math.min(...bottom), Math.max(...top)];
}

// A clip's film. It is moved from step to step, so that two play in step whatever either takes.
export class Film {
  constructor(video, scene, load) {
    this.video = video;
    this.steps = scene.steps;
    this.rate = 30;
    this.step = 0;
    this.whenReady = this.load(load);
    video.addEventListener("seeked", () => this.shown !== this.step && this.seek());
  }

  async load(load) {
    this.address = await load(() => !this.closed);
    if (this.closed) this.close();
    if (this.address === null || this.closed) return false;
    const { video } = this;
    const loaded = await new Promise((done) => {
      video.addEventListener("loadeddata", () => done(true), { once: true });
      video.addEventListener("error", () => done(false), { once: true });
      video.src = this.address;
    });
    if (!loaded) {
      this.problem = "This browser does not play the film (H.264).";
      return false;
    }
    this.rate = this.steps / this.video.duration;
    this.ready = true;
    this.seek();
    return true;
  }

  draw(step) {
    this.step = Math.max(0, Math.min(step, this.steps - 1));
    if (this.ready && !this.video.seeking) this.seek();
  }

  seek() {
    this.shown = this.step;
    this.video.currentTime = (this.step + 0.5) / this.rate;
  }

  close() {
    this.closed = true;
    if (this.address) URL.revokeObjectURL(this.address);
  }
}

// Clips that play in step, and again from the beginning together.
export class Player {
  constructor(onStep = () => {}) {
    this.pictures = [];
    this.onStep = onStep;
    this.speed = 1;
    this.paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.time = 0;
    const tick = (now) => {
      const passed = Math.min(0.25, (now - (this.before ?? now)) / 1000);
      this.before = now;
      if (!this.paused && this.pictures.length) this.advance(passed);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  show(pictures) {
    this.pictures.forEach((picture) => picture.close());
    this.pictures = pictures;
    this.seek(0);
  }

  get steps() {
    return Math.max(1, ...this.pictures.map((picture) => picture.steps));
  }

  advance(seconds) {
    if (!this.pictures.every((picture) => picture.ready)) return;
    const rate = this.pictures[0].rate * this.speed;
    // The last picture stands for a moment, so that the end is seen.
    this.time = (this.time + seconds * rate) % (this.steps + 4);
    this.draw();
  }

  seek(step) {
    this.time = step;
    this.draw();
  }

  get step() {
    return Math.min(Math.floor(this.time), this.steps - 1);
  }

  draw() {
    if (this.step === this.drawn && this.pictures === this.drawnOf) return;
    this.drawn = this.step;
    this.drawnOf = this.pictures;
    this.pictures.forEach((picture) => picture.draw(this.step));
    this.onStep(this.step, this.steps);
  }
}
