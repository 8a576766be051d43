/**
 * Seeds that broke a law once, and what they showed. They are run with every test for ever; a change of the scenarios gives
 * them another meaning, and does no harm.
 */
export const REGRESSION_SEEDS: readonly (readonly [seed: number, shown: string])[] = [
  [4, 'the end of the control channel was acted upon only when some other deadline came'],
  [32, 'what was given up at a claim without a last owner was reported nowhere'],
  [37, 'a shadow that had heard a SYN but not its answer was passed over in silence'],
  [59, 'a node that started again claimed a term that had been used while it was down'],
  [82, 'a proof of what the last owner sent was refused when SND.UNA was old too'],
]
