// Out-of-distribution rejection: decides whether a drawing is one of the model's classes.
//
// The same computation as `RejectionScorer` in runtime/model/rejection.py, which explains it: a small
// network scores the mean ink of each cell of a grid, and adds the logit of the confidence.

const SIDE_PX = 28; // side of the model's input
const TOP_PX = 4; // first row of the grid; rows above it have no ink in MNIST's format
const CELL_PX = 2; // side of a cell
const ROWS = 10; // of the grid
const COLUMNS = 14; // of the grid
const MAX_CONFIDENCE = 0.9999; // higher confidences are clipped to this: engines round them differently

export class RejectionScorer {
  // `rule` is the rejection model in the spec; if it is null, the confidence is the score and
  // `acceptConfidence` the threshold.
  constructor(acceptConfidence, rule) {
    this.threshold = rule ? rule.threshold : acceptConfidence;
    this.rule = rule;
    this.weights = rule && Int8Array.from(atob(rule.weights), (c) => c.charCodeAt(0));
  }

  accepts(pixels, confidence) {
    return this.score(pixels, confidence) >= this.threshold;
  }

  // Return the score of an image; a blank one gets -Infinity.
  score(pixels, confidence) {
    if (pixels.every((value) => value === pixels[0])) return -Infinity;
    if (!this.rule) return confidence;
    const means = new Float32Array(ROWS * COLUMNS);
    for (let y = 0; y < ROWS * CELL_PX; y++) {
      for (let x = 0; x < SIDE_PX; x++) {
        const cell = Math.floor(y / CELL_PX) * COLUMNS + Math.floor(x / CELL_PX);
        means[cell] += pixels[(TOP_PX + y) * SIDE_PX + x] / (255 * CELL_PX * CELL_PX);
      }
    }
    const { scales, biases, outputs } = this.rule;
    const clipped = Math.min(confidence, MAX_CONFIDENCE);
    let score = this.rule.odds_weight * Math.log(clipped / (1 - clipped));
    outputs.forEach((output, unit) => {
      let sum = 0;
      for (let i = 0; i < means.length; i++) sum += this.weights[unit * means.length + i] * means[i];
      score += output * Math.max(0, scales[unit] * sum + biases[unit]);
    });
    return score;
  }
}
