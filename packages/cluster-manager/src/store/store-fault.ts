/** Why a store could not be opened; the sentence names the folder and the remedy. */
export type StoreFault = {
  /**
   * `locked`: another manager leads over it, wait; `newer-schema`: written by a newer version of Muster;
   * `damaged`: what is stored cannot be read; `unusable`: no folder, no permission, no space; `unavailable`: away for
   * now, try again; `foreign`: another site's, or not ours at all; `went-back`: its term is one that was given before;
   * `namesake`: another manager of the same name leads over it.
   */
  readonly kind:
    | "locked"
    | "newer-schema"
    | "damaged"
    | "unusable"
    | "unavailable"
    | "foreign"
    | "went-back"
    | "namesake";
  readonly message: string;
  /** Who leads, where it is `locked` and the store says it. */
  readonly leader?: { readonly manager: string; readonly term: number; readonly url?: string | undefined };
};

/** Version of the layout of what is stored. A store of a newer one is refused, an older one would be migrated. */
export const STORE_SCHEMA = 1;

export function newerSchema(place: string, found: number): StoreFault {
  return {
    kind: "newer-schema",
    message:
      `${place} was written with store schema ${found}, this version knows ${STORE_SCHEMA}; ` +
      "run the newer version again, or restore a backup made before the update",
  };
}
