export type {
  Borrower,
  BorrowerChange,
  BorrowerEffect,
  BorrowerEnv,
  BorrowerEvent,
  BorrowerStep,
  BorrowRecord,
  PeerStanding,
} from "./borrow/borrower-contract.ts";
export type { BurstAnswer, BurstNotice, BurstOutcome, BurstRequest } from "./burst-message.ts";
export type {
  HeldCapacity,
  Lender,
  LenderChange,
  LenderEffect,
  LenderEnv,
  LenderEvent,
  LenderStep,
  LendRecord,
} from "./lend/lender-contract.ts";
export type { LenderPolicy, Peering } from "./peering/peering.ts";
