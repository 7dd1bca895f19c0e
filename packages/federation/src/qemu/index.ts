/** What a machine can do for real guests, without loading what runs a federation. */
export { type NetworkAbility, probeNetworkAbilities } from "./network-abilities.ts";
export { probeQemuRights, type QemuRights } from "./rights.ts";
