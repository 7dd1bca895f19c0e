/**
 * What a guest is told at its first boot, as cloud-init's NoCloud data source reads it
 * (https://docs.cloudinit.io/en/latest/reference/datasources/nocloud.html): one volume with label `cidata` and these files.
 *
 * Keys. `public-keys` of meta-data is where every cloud hands them over: cloud-init gives them to the image's default user
 * whatever the user-data is, a script included. Without user-data of the user's there is a `#cloud-config` with them too,
 * for readers that know nothing else. With it, that stays as it was given, to the byte; vendor-data says the keys once
 * more: cloud-init merges it below user-data, which has the last word on everything.
 */
import type { GuestNic, VmSpec } from "@muster/protocol";
import { type YamlValue, yamlText } from "./yaml-text.ts";

export type SeedWish = {
  readonly vm: string;
  readonly attempt: number;
  /** What people call the VM. */
  readonly name: string;
  readonly spec: Pick<VmSpec, "sshKeys" | "userData">;
  readonly nics: readonly GuestNic[];
};

/** File name to content. */
export type SeedDocuments = Readonly<Record<string, string>>;

export function seedDocuments(wish: SeedWish): SeedDocuments {
  const { sshKeys, userData } = wish.spec;
  return {
    "meta-data": metaData(wish),
    "user-data": userData ?? cloudConfig(sshKeys),
    ...(userData === undefined || sshKeys === undefined ? {} : { "vendor-data": cloudConfig(sshKeys) }),
    "network-config": networkConfig(wish.nics),
  };
}

/** A new attempt is a new disk, and so a new instance: cloud-init does its work of a first boot again. */
function metaData({ vm, attempt, name, spec }: SeedWish): string {
  return yamlText({
    "instance-id": `${vm}-${attempt}`,
    "local-hostname": hostNameOf(name),
    ...(spec.sshKeys === undefined ? {} : { "public-keys": spec.sshKeys }),
  });
}

function cloudConfig(sshKeys: readonly string[] | undefined): string {
  return `#cloud-config\n${sshKeys === undefined ? "" : yamlText({ ssh_authorized_keys: sshKeys })}`;
}

/** The host name nearest to what the VM is called (RFC 1123 section 2.1). */
export function hostNameOf(name: string): string {
  const plain = name.toLowerCase().replace(/[^a-z0-9.-]+/g, "-");
  const labels = plain.split(".").map((label) => label.replace(/^-+|-+$/g, ""));
  return labels.filter((label) => label !== "").join(".") || "vm";
}

/** Version 2, as netplan has it. Interfaces are told by their MAC: their names are the image's own affair. */
function networkConfig(nics: readonly GuestNic[]): string {
  const ethernets = Object.fromEntries(nics.map((nic, index) => [`nic${index}`, ethernet(nic)]));
  return yamlText({ version: 2, ethernets });
}

function ethernet(nic: GuestNic): YamlValue {
  return {
    match: { macaddress: nic.mac },
    mtu: nic.mtu,
    dhcp4: nic.addressing === "dhcp",
    ...(nic.addressing === "static" ? statically(nic) : {}),
    // A boot must not wait for what nobody answers.
    ...(nic.addressing === "none" ? { optional: true } : {}),
  };
}

function statically({ address, gateway, nameservers }: GuestNic): { readonly [key: string]: YamlValue } {
  return {
    ...(address === undefined ? {} : { addresses: [address] }),
    ...(gateway === undefined ? {} : { routes: [{ to: gateway.includes(":") ? "::/0" : "0.0.0.0/0", via: gateway }] }),
    ...(nameservers === undefined ? {} : { nameservers: { addresses: nameservers } }),
  };
}
