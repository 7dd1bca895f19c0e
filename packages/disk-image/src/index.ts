/** Disk images from strangers: taken in against their digest, and looked into before any guest gets them. */
export type { DiskFormat } from "./disk-header.ts";
export { type DownloadImage, downloadImage } from "./download-image.ts";
export { type ImageFault, type ImageFaultReason, imageFault } from "./image-fault.ts";
export { REDIRECTS_MAX } from "./image-source.ts";
export { type DiskImage, inspectHeader, inspectImage } from "./inspect-image.ts";
export { type Overlay, readOverlay } from "./overlay.ts";
export { type DownloadFault, imageFaultOf, type SourceFault } from "./source-fault.ts";
export { syncFolder } from "./sync-folder.ts";
export { type TakeImage, takeImage } from "./take-image.ts";
export type { TransferLimits } from "./transfer-watch.ts";
