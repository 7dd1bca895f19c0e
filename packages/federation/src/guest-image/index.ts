export {
  defaultImageCache,
  ensureGuestImage,
  GUEST_MEMORY_MIB,
  GUEST_READY,
  type GuestImageFile,
  type GuestImageOptions,
} from "./guest-image.ts";
