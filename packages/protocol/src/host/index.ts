/** What a leader and its hosts say to each other. */
export { type Access, accessFields, accessSchema } from "./access.ts";
export {
  type Capacity,
  capacityMessage,
  capacitySchema,
  type HostVm,
  hostVmFields,
  hostVmSchema,
} from "./capacity.ts";
export {
  type Command,
  type CommandAction,
  type CommandLease,
  type CommandOutcome,
  type CommandSubject,
  commandActionSchema,
  commandMessage,
  commandOutcomeMessage,
  commandOutcomeSchema,
  commandSchema,
  commandSubjectSchema,
  subjectFields,
} from "./command.ts";
export {
  CONSOLE_BYTES_MAX,
  CONSOLE_WAIT_MS_MAX,
  type ConsoleOrder,
  type ConsoleRequest,
  type ConsoleState,
  consoleOrderMessage,
  consoleOrderSchema,
  consoleRequestSchema,
  consoleStateMessage,
  consoleStateSchema,
} from "./console.ts";
export {
  type Attachment,
  attachmentSchema,
  type Guest,
  type GuestImage,
  type GuestNic,
  guestFields,
  guestImageSchema,
  guestNicSchema,
  guestSchema,
  IMAGE_URLS_MAX,
  vlanTagSchema,
} from "./guest.ts";
export { type Hello, helloMessage, helloSchema, type Welcome, welcomeMessage, welcomeSchema } from "./hello.ts";
export {
  INVENTORY_PAGE_MAX,
  type InventoryPage,
  type InventoryQuery,
  inventoryPageMessage,
  inventoryPageSchema,
  inventoryQueryMessage,
  inventoryQuerySchema,
  type ListedVm,
  listedVmSchema,
} from "./inventory.ts";
export {
  MOVE_WAIT_MS_MAX,
  type Move,
  type MoveLink,
  type MoveStage,
  type MoveState,
  type MoveStep,
  moveLinkSchema,
  moveMessage,
  moveSchema,
  moveStateMessage,
  moveStateSchema,
  moveStepSchema,
} from "./move.ts";
export {
  BRIDGES_MAX,
  type NetworkAbilities,
  networkAbilitiesFields,
  networkAbilitiesSchema,
} from "./network-abilities.ts";
export {
  NOTICES_MAX,
  type Notice,
  type Notices,
  type NoticesTaken,
  noticeSchema,
  noticesMessage,
  noticesSchema,
  noticesTakenMessage,
  noticesTakenSchema,
} from "./notice.ts";
export {
  type HostOperation,
  hostOperationSchema,
  type OperationResult,
  operationResultSchema,
  partNameSchema,
  SNAPSHOTS_MAX,
  VOLUMES_MAX,
} from "./operation.ts";
export {
  SERIAL_LOG_BYTES_MAX,
  type SerialLogPart,
  type SerialLogQuery,
  serialLogPartMessage,
  serialLogPartSchema,
  serialLogQueryMessage,
  serialLogQuerySchema,
} from "./serial-log.ts";
export {
  TUNNEL_KEEP_MS_MAX,
  type TunnelAbility,
  type TunnelOrder,
  type TunnelState,
  tunnelAbilityFields,
  tunnelAbilitySchema,
  tunnelMessage,
  tunnelOrderSchema,
  tunnelStateMessage,
  tunnelStateSchema,
} from "./tunnel.ts";
export {
  type NicTunnel,
  nicTunnelSchema,
  type TunnelEnd,
  type TunnelEndpoint,
  type TunnelNic,
  tunnelEndSchema,
  tunnelMtuSchema,
  tunnelNicSchema,
  tunnelVniSchema,
} from "./tunnel-end.ts";
export {
  UNDERLAY_PEERS_MAX,
  type Underlay,
  type UnderlayEnd,
  type UnderlayList,
  type UnderlayPeer,
  type UnderlayTaken,
  underlayEndSchema,
  underlayListFields,
  underlayListSchema,
  underlayMessage,
  underlayPeerSchema,
  underlaySchema,
  underlayTakenMessage,
  underlayTakenSchema,
} from "./underlay.ts";
