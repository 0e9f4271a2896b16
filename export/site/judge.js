// Whether what was drawn is a digit at all. Mirrors `Judge` in runtime/model/rejection.py, where the rule
// is explained.

const TOP = 4, ROWS = 10, COLUMNS = 14, SQUARE = 2, SIDE = 28;
const SUREST = 0.9999; // confidences above are taken for this one

export class Judge {
  // `rule` is the spec's acceptance; null where the model has none, and then confidence decides.
  constructor(acceptConfidence, rule) {
    this.threshold = rule ? rule.threshold : acceptConfidence;
    this.rule = rule;
    this.weights = rule && Int8Array.from(atob(rule.weights), (c) => c.charCodeAt(0));
  }

  accepts(pixels, confidence) {
    return this.score(pixels, confidence) >= this.threshold;
  }

  score(pixels, confidence) {
    if (pixels.every((value) => value === pixels[0])) return -Infinity;
    if (!this.rule) return confidence;
    const means = new Float32Array(ROWS * COLUMNS);
    for (let y = 0; y < ROWS * SQUARE; y++) {
      for (let x = 0; x < SIDE; x++) {
        const cell = Math.floor(y / SQUARE) * COLUMNS + Math.floor(x / SQUARE);
        means[cell] += pixels[(TOP + y) * SIDE + x] / (255 * SQUARE * SQUARE);
      }
    }
    const { scales, biases, outputs } = this.rule;
    const sure = Math.min(confidence, SUREST);
    let score = this.rule.odds_weight * Math.log(sure / (1 - sure));
    outputs.forEach((output, unit) => {
      let sum = 0;
      for (let i = 0; i < means.length; i++) sum += this.weights[unit * means.length + i] * means[i];
      score += output * Math.max(0, scales[unit] * sum + biases[unit]);
    });
    return score;
  }
}
