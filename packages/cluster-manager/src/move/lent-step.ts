import type { MoveStep } from "@muster/protocol";
import type { Ticket } from "../core/event.ts";

/** A step that a borrower asked for, on its way to the host of its VM: its answer is the borrower's. */
export type LentStep = {
  readonly ticket: Ticket;
  /** Of the exchange, and of the move. */
  readonly exchange: string;
  readonly id: string;
  readonly step: MoveStep;
  readonly host: string;
};
