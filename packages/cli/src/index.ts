export { EXIT } from "./exit-code.ts";
