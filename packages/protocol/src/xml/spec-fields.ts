import type { Resources } from "../resources.ts";
import type { VmSpec } from "../vm-spec.ts";
import { type Fields, flag, integer, line, pairs, text, textsIfAny } from "./field.ts";

export const resourceFields: Fields<Resources> = {
  vcpus: integer,
  memoryMiB: integer,
  diskGiB: integer,
  gpus: integer,
};

export const specFields: Fields<VmSpec> = {
  image: text,
  vcpus: integer,
  memoryMiB: integer,
  diskGiB: integer,
  gpus: integer,
  labels: pairs("label"),
  affinityGroup: text,
  antiAffinityGroup: text,
  networks: textsIfAny("network"),
  sshKeys: textsIfAny("ssh-key"),
  userData: line,
  firmware: text,
  cpuModel: text,
  cpuShares: integer,
  dedicatedCpus: flag,
  onHostLoss: text,
};
