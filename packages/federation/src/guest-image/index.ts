export {
  defaultImageCache,
  ensureGuestImage,
  GUEST_MEMORY_MIB,
  type GuestImageFile,
  type GuestImageOptions,
} from "./guest-image.ts";
