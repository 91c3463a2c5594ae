// The learned return over answers, as a small line with its first and last value.

const SVG = "http://www.w3.org/2000/svg";

function part(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function curve(points) {
  const [width, height, edge] = [260, 110, 16];
  const xs = points.map(([answers]) => answers);
  const ys = points.map(([, value]) => value);
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const most = Math.max(...xs, 1);
  const x = (answers) => edge + ((width - 2 * edge) * answers) / most;
  const y = (value) => height - edge - ((height - 2 * edge) * (value - low)) / (high - low || 1);
  const number = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1));
  const last = points.at(-1);
  const svg = part("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(
    part("title", {}, `Learned return ${number(ys[0])} after ${xs[0]} answers, ${number(last[1])} after ${last[0]}`),
    part("line", { x1: edge, x2: width - edge, y1: height - edge, y2: height - edge }),
    part("polyline", { points: points.map(([a, v]) => `${x(a)},${y(v)}`).join(" ") }),
    part("circle", { cx: x(last[0]), cy: y(last[1]), r: 4 }),
    part("text", { x: edge, y: 10 }, `learned return ${number(last[1])}`),
    part("text", { x: width - edge, y: height - 2, "text-anchor": "end" }, `${most} ${most === 1 ? "answer" : "answers"}`),
  );
  return svg;
}
