// What Pillow does to an image, bit for bit: `resize` (src/libImaging/Resample.c, Reduce.c),
// `transform` with BILINEAR (Geometry.c), `MaxFilter` and `MinFilter` (RankFilter.c). A plane is
// { data, width, height }, one number a pixel, row by row: bytes, or floats where so said.

const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(1 - Math.abs(x), 0)],
  bicubic: [2, (x) => {
    const [a, d] = [-0.5, Math.abs(x)];
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  }],
};
const ONE = 2 ** 22; // bytes are resampled in fixed point

export function plane(width, height, Kind = Uint8Array) {
  return { data: new Kind(width * height), width, height };
}

export function transpose({ data, width, height }) {
  const turned = plane(height, width, data.constructor);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) turned.data[x * height + y] = data[y * width + x];
  }
  return turned;
}

// `Image.resize`. With a `gap` it is first reduced by a whole factor, as far as that leaves
// `gap` times the size.
export function resize(image, width, height, filter, gap = 0) {
  if (image.width === width && image.height === height) return image;
  let across = image.width, down = image.height;
  if (gap) {
    const x = Math.trunc(across / width / gap) || 1, y = Math.trunc(down / height / gap) || 1;
    if (x > 1 || y > 1) image = reduce(image, x, y);
    across /= x;
    down /= y;
  }
  const rows = (one) =>
    (one.width === width && across === width ? one : resizeRows(one, across, width, filter));
  const columns = (one) => (one.height === height && down === height
    ? one : transpose(resizeRows(transpose(one), down, height, filter)));
  // The order of Pillow 13, of which bytes depend by one level; older ones take rows first always.
  const columnsFirst = image.height - height > Math.max(2 * (image.width - width), 0);
  return columnsFirst ? rows(columns(image)) : columns(rows(image));
}

// `Image.reduce`: means of x × y pixels; at the right and the lower edge of what is left there.
function reduce(image, x, y) {
  const made = plane(Math.ceil(image.width / x), Math.ceil(image.height / y));
  for (let row = 0; row < made.height; row++) {
    const top = row * y, bottom = Math.min(top + y, image.height);
    for (let column = 0; column < made.width; column++) {
      const left = column * x, right = Math.min(left + x, image.width);
      const count = (right - left) * (bottom - top);
      let sum = count >> 1;
      for (let v = top; v < bottom; v++) {
        for (let u = left; u < right; u++) sum += image.data[v * image.width + u];
      }
      made.data[row * made.width + column] = Math.floor(sum * Math.floor(2 ** 24 / count) / 2 ** 24);
    }
  }
  return made;
}

// One pass of the resampling: `length` of each row's pixels, a whole number or not, become `size`.
function resizeRows(image, length, size, filter) {
  const [reach, weigh] = FILTERS[filter];
  const bytes = image.data instanceof Uint8Array;
  const scale = length / size, widened = Math.max(scale, 1), support = reach * widened;
  const made = plane(size, image.height, image.data.constructor);
  for (let column = 0; column < size; column++) {
    const centre = (column + 0.5) * scale;
    const from = Math.max(Math.trunc(centre - support + 0.5), 0);
    const to = Math.min(Math.trunc(centre + support + 0.5), image.width);
    let weights = Array.from({ length: to - from }, (_, i) => weigh((i + from - centre + 0.5) / widened));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (total !== 0) weights = weights.map((weight) => weight / total);
    if (bytes) weights = weights.map((weight) => Math.trunc(weight * ONE + (weight < 0 ? -0.5 : 0.5)));
    for (let row = 0; row < image.height; row++) {
      const start = row * image.width + from;
      let sum = bytes ? ONE / 2 : 0;
      for (let i = 0; i < weights.length; i++) sum += image.data[start + i] * weights[i];
      made.data[row * size + column] = bytes ? Math.min(Math.max(Math.floor(sum / ONE), 0), 255) : sum;
    }
  }
  return made;
}

// `Image.transform` with AFFINE and BILINEAR, the size kept: 0 where the source is elsewhere.
export function affine(image, [a, b, c, d, e, f]) {
  const { data, width, height } = image;
  const made = plane(width, height);
  const clip = (at, length) => Math.min(Math.max(at, 0), length - 1);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const x = a * (column + 0.5) + b * (row + 0.5) + c, y = d * (column + 0.5) + e * (row + 0.5) + f;
      if (x < 0 || x >= width || y < 0 || y >= height) continue;
      const left = Math.floor(x - 0.5), top = Math.floor(y - 0.5);
      const right = x - 0.5 - left, down = y - 0.5 - top;
      const x0 = clip(left, width), x1 = clip(left + 1, width);
      const between = (at) => data[at + x0] + (data[at + x1] - data[at + x0]) * right;
      const upper = between(clip(top, height) * width);
      const lower = top + 1 < height ? between((top + 1) * width) : upper;
      made.data[row * width + column] = upper + (lower - upper) * down;
    }
  }
  return made;
}

// `MaxFilter(size)`, or with Math.min `MinFilter`: edges repeated.
export function rank(image, size, choose = Math.max) {
  const rows = (one) => {
    const made = plane(one.width, one.height), half = size >> 1;
    for (let y = 0; y < one.height; y++) {
      for (let x = 0; x < one.width; x++) {
        let best = one.data[y * one.width + x];
        for (let u = Math.max(x - half, 0); u <= Math.min(x + half, one.width - 1); u++) {
          best = choose(best, one.data[y * one.width + u]);
        }
        made.data[y * one.width + x] = best;
      }
    }
    return made;
  };
  return transpose(rows(transpose(rows(image))));
}

// As numpy.rint and Python's round: a half goes to the even number.
export function roundHalfEven(value) {
  const floor = Math.floor(value), rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
