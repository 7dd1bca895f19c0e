/** A lender's policy as its peer hears it, and back. */
import type { LenderPolicy } from "@muster/broker";
import {
  type Invitation,
  LEASE_MS_MAX,
  type LendChange,
  PERMILLE,
  type PeerTerms,
  TERMS_IMAGES_MAX,
} from "@muster/protocol";

/** What is lent where an admin says nothing. */
export const LEND_DEFAULT: LenderPolicy = {
  accept: true,
  share: 0.25,
  leaseMsMax: 3_600_000,
  vmsMax: 100,
  images: [],
};

export function termsOf({ accept, share, leaseMsMax, vmsMax, images }: LenderPolicy): PeerTerms {
  return {
    accept,
    sharePermille: Math.round(share * PERMILLE),
    leaseMsMax: Math.min(LEASE_MS_MAX, leaseMsMax),
    vmsMax,
    images: images.length > TERMS_IMAGES_MAX ? [] : [...images],
  };
}

export function policyOfTerms({ accept, sharePermille, leaseMsMax, vmsMax, images }: PeerTerms): LenderPolicy {
  return { accept, share: sharePermille / PERMILLE, leaseMsMax, vmsMax, images };
}

/** What the invited site lends: the default, or nothing where the inviting site does not mean to borrow. */
export function acceptorPolicy(invitation: Pick<Invitation, "borrow">, change: LendChange): LenderPolicy {
  return changedPolicy({ ...LEND_DEFAULT, accept: invitation.borrow }, change);
}

/** The policy with what an admin changed in it; a rule that is `null` there is taken away. */
export function changedPolicy(policy: LenderPolicy, change: LendChange): LenderPolicy {
  const set = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  const merged: Partial<Record<keyof LenderPolicy, unknown>> = { ...policy, ...set };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null)) as LenderPolicy;
}
