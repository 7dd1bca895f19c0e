import { assertNever } from "@muster/base";
import { type ImageFault, imageFault } from "./image-fault.ts";

/** Why nothing, or not all, came from where an image is fetched. It holds no address, which may carry a ticket (S3). */
export type SourceFault =
  | { readonly kind: "no-http" }
  | { readonly kind: "redirects"; readonly most: number }
  | { readonly kind: "status"; readonly status: number }
  /** `code`: of Node or the system, as `ECONNREFUSED`. */
  | { readonly kind: "unreachable"; readonly code: string }
  | { readonly kind: "broke-off"; readonly code: string }
  | { readonly kind: "silent"; readonly silenceMs: number }
  | { readonly kind: "slow"; readonly wholeMs: number }
  | { readonly kind: "given-up" };

/** The fault of a download: of the source, or of what came from it. */
export type DownloadFault = SourceFault | { readonly kind: "refused"; readonly fault: ImageFault };

/** The same as a fault of the image: another try may mend all that a source does. */
export function imageFaultOf(fault: DownloadFault): ImageFault {
  return fault.kind === "refused" ? fault.fault : imageFault("interrupted", sentenceOf(fault));
}

function sentenceOf(fault: SourceFault): string {
  switch (fault.kind) {
    case "no-http":
      return "its address, or the one that its server sends to, is no http or https address";
    case "redirects":
      return `its server sends elsewhere more than ${fault.most} times`;
    case "status":
      return `its server answered with status ${fault.status}`;
    case "unreachable":
      return `its server cannot be reached: ${fault.code}`;
    case "broke-off":
      return `the transfer broke off: ${fault.code}`;
    case "silent":
      return `its server sent nothing for ${fault.silenceMs} ms`;
    case "slow":
      return `it took longer than ${fault.wholeMs} ms to come`;
    case "given-up":
      return "it was given up";
    default:
      return assertNever(fault);
  }
}
