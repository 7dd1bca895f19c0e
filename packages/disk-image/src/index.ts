/** Disk images from strangers: taken in against their digest, and looked into before any guest gets them. */
export { checkHeader, type DiskFormat, HEADER_BYTES } from "./disk-header.ts";
export { type ImageFault, type ImageFaultReason, imageFault } from "./image-fault.ts";
export { type DiskImage, inspectImage } from "./inspect-image.ts";
export { type TakeImage, takeImage } from "./take-image.ts";
