// Measures a tone: how loud, how long, how high.

const LOUD = 0.05;
const LONGEST_PERIOD = 0.01;

export class Tone {
  #peak = 0;
  #time = 0;
  #before = 0;
  #isArmed = false;
  #crossing = -Infinity;
  #periods = [];

  // Take samples from -1 to 1; a period is what lies between two crossings of zero, upwards.
  hear(samples, rate) {
    for (const sample of samples) {
      this.#peak = Math.max(this.#peak, Math.abs(sample));
      this.#time += 1 / rate;
      if (sample < -LOUD) this.#isArmed = true;
      if (this.#isArmed && this.#before < 0 && sample >= 0) {
        const crossing = this.#time - sample / (sample - this.#before) / rate;
        const period = crossing - this.#crossing;
        if (period < LONGEST_PERIOD) this.#periods.push(period);
        this.#crossing = crossing;
        this.#isArmed = false;
      }
      this.#before = sample;
    }
  }

  result() {
    const periods = this.#periods.toSorted((a, b) => a - b);
    return {
      peak: this.#peak,
      seconds: periods.reduce((sum, period) => sum + period, 0),
      hertz: periods.length ? 1 / periods[periods.length >> 1] : null,
    };
  }
}
