export { type ApiRequest, type ConnectionOptions, callApi, type Endpoint } from "./connection.ts";
export { type EventsFrom, followEvents } from "./events.ts";
export { createSiteClient, type MoveWish, type SiteClient } from "./site-client.ts";
