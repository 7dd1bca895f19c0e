/**
 * How long a guest may stand still at the end of its move. QEMU stops it as soon as what is left could be sent within this time,
 * so that the longer it may be, the more is left for then: by default a small guest is stopped amid its first pass. A guest that
 * writes its memory faster than that is given more time, up to QEMU's own default.
 */
const FIRST_MS = 50;
const MOST_MS = 300;
/** Passes over the guest's memory after which it is given twice the time. */
const PASSES_PER_STEP = 4;

/** The pause to allow from the given pass over its memory on. Pure. */
export function pauseMsAt(pass: number): number {
  return Math.min(MOST_MS, FIRST_MS * 2 ** Math.floor(Math.max(0, pass - 1) / PASSES_PER_STEP));
}
