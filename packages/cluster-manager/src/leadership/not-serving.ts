import type { Refusal } from "@muster/protocol";

/** Thrown to readers while the working set cannot be shown: the store is being read again, or another manager leads. */
export class NotServingError extends Error {
  override readonly name = "NotServingError";
  readonly refusal: Refusal;

  constructor(refused: Refusal) {
    super(refused.message);
    this.refusal = refused;
  }
}
