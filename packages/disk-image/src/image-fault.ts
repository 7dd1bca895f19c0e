/** Why a file is no image that a guest may get; `reason` is for machines, `message` one line with the remedy. */
export type ImageFault = { readonly reason: ImageFaultReason; readonly message: string };

export type ImageFaultReason =
  /** It names a file outside itself: its guest would read what lies on the host. */
  | "backing-file"
  | "external-data-file"
  /** It is not what it was said to be. */
  | "wrong-format"
  | "wrong-digest"
  | "encrypted"
  | "truncated"
  | "damaged"
  | "too-large"
  /** The transfer broke off, or nothing more came. */
  | "interrupted"
  | "no-space"
  /** qemu-img is missing, hung, or could not be confined. */
  | "not-inspected";

export function imageFault(reason: ImageFaultReason, message: string): ImageFault {
  return { reason, message: message.slice(0, 500) };
}
