import { randomUUID } from "node:crypto";
import type { Result } from "@muster/base";
import type { GuestNic } from "@muster/protocol";
import { expect, it } from "vitest";
import type { HostNetworks, NetworkFault } from "./port.ts";

/** A host whose networks are looked at from outside. */
export type NetworkBed = {
  /** Opened anew over the same notes, as by a host manager that was started again. */
  open(): Result<HostNetworks, NetworkFault>;
  /** Whatever exists for guests now, as lines; empty when nothing does. */
  traces(): Promise<readonly string[]>;
  /** An interface of the attachment under test; equal numbers, equal interface. */
  nic(number: number): GuestNic;
};

/** libvirt takes its time over a network where others keep the machine busy. */
const CASE_MS = 60_000;

/** What every way of attaching interfaces has to hold. */
export function hostNetworksContract(makeBed: () => NetworkBed): void {
  const vmIds = [randomUUID(), randomUUID()] as const;
  const [one, other] = vmIds;
  const open = (bed: NetworkBed): HostNetworks => {
    const opened = bed.open();
    if (!opened.ok) throw new Error(opened.error.reason);
    return opened.value;
  };

  it("gives the same VM and interface the same wiring again, also after a restart", { timeout: CASE_MS }, async () => {
    const bed = makeBed();
    const networks = open(bed);
    const first = await networks.attach(one, bed.nic(1));
    expect(first).toMatchObject({ ok: true });
    expect(await networks.attach(one, bed.nic(1))).toEqual(first);
    expect(await open(bed).attach(one, bed.nic(1))).toEqual(first);
    await networks.release(one);
  });

  it("leaves nothing once nobody uses it any more, and takes a second release for none", {
    timeout: CASE_MS,
  }, async () => {
    const bed = makeBed();
    const before = await bed.traces();
    const networks = open(bed);
    await networks.attach(one, bed.nic(1));
    await networks.attach(other, bed.nic(2));
    await networks.release(one);
    expect(await open(bed).attach(other, bed.nic(2))).toMatchObject({ ok: true });
    const second = open(bed);
    await second.release(other);
    await second.release(other);
    await second.release(one);
    expect(await bed.traces()).toEqual(before);
  });

  it("refuses a MAC address and an address that another VM has on the network, and leaves nothing of it", {
    timeout: CASE_MS,
  }, async () => {
    const bed = makeBed();
    const networks = open(bed);
    await networks.attach(one, bed.nic(1));
    const before = await bed.traces();
    const sameMac = await networks.attach(other, bed.nic(1));
    expect(!sameMac.ok && sameMac.error.reason).toContain(`the MAC address ${bed.nic(1).mac} is that of VM ${one}`);
    const { address } = bed.nic(1);
    const sameAddress = await networks.attach(other, { ...bed.nic(2), address });
    expect(!sameAddress.ok && sameAddress.error.reason).toContain(`the address ${address} is that of VM ${one}`);
    expect(await bed.traces()).toEqual(before);
    await networks.release(one);
  });

  it("gives up what VMs use that are no more, as after a crash, and keeps the others'", {
    timeout: CASE_MS,
  }, async () => {
    const bed = makeBed();
    const before = await bed.traces();
    const networks = open(bed);
    await networks.attach(one, bed.nic(1));
    const kept = await networks.attach(other, bed.nic(2));
    const again = open(bed);
    await again.reconcile(new Set([other]));
    expect(await again.attach(other, bed.nic(2))).toEqual(kept);
    // What the lost VM had is free again.
    expect(await again.attach(other, { ...bed.nic(1) })).toMatchObject({ ok: true });
    await again.reconcile(new Set());
    expect(await bed.traces()).toEqual(before);
  });

  it("attaches many at once, one after the other", { timeout: CASE_MS }, async () => {
    const bed = makeBed();
    const before = await bed.traces();
    const networks = open(bed);
    const vms = Array.from({ length: 4 }, () => randomUUID());
    const wirings = await Promise.all(vms.map((vm, index) => networks.attach(vm, bed.nic(index + 1))));
    expect(wirings.every(({ ok }) => ok)).toBe(true);
    await Promise.all(vms.map((vm) => networks.release(vm)));
    expect(await bed.traces()).toEqual(before);
  });
}
