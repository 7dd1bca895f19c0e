import { z } from "zod";

// The part of the Compose specification (compose-spec, "05-services", "06-networks", "07-volumes") that our
// file uses. Keys that it does not list are refused, so the file cannot use what is not checked here.

const name = z.string().regex(/^[a-zA-Z0-9._-]+$/);
const duration = z
  .string()
  .regex(/^(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?$/)
  .min(2);
/** Exec form only: a string would go through a shell. */
const command = z.array(z.string()).min(1);

const dependency = z.strictObject({
  condition: z.enum(["service_started", "service_healthy", "service_completed_successfully"]),
  restart: z.boolean().optional(),
  required: z.boolean().optional(),
});

const healthcheck = z.strictObject({
  test: z.tuple([z.literal("CMD")], z.string()),
  interval: duration,
  timeout: duration,
  retries: z.int().positive(),
  start_period: duration.optional(),
});

/** VOLUME:CONTAINER_PATH[:MODE] for a named volume. */
const mount = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]*:\/[^:]+(?::(?:ro|rw))?$/);

const attachment = z.strictObject({ ipv4_address: z.ipv4().optional(), aliases: z.array(z.string()).optional() });

const service = z
  .strictObject({
    image: z.string(),
    build: z.union([z.string(), z.strictObject({ context: z.string(), dockerfile: z.string().optional() })]).optional(),
    init: z.boolean(),
    restart: z.enum(["no", "always", "on-failure", "unless-stopped"]),
    read_only: z.boolean(),
    tmpfs: z.array(z.string()),
    cap_drop: z.array(z.string()),
    security_opt: z.array(z.string()),
    stop_grace_period: duration,
    profiles: z.array(name).optional(),
    depends_on: z.record(name, dependency).optional(),
    entrypoint: command.optional(),
    command: command.optional(),
    environment: z.record(z.string(), z.string()).optional(),
    volumes: z.array(mount),
    networks: z.union([z.array(name), z.record(name, attachment)]).optional(),
    network_mode: z.union([z.literal("none"), z.string().regex(/^service:[a-zA-Z0-9._-]+$/)]).optional(),
    ports: z.array(z.string().regex(/^(?:\d+\.\d+\.\d+\.\d+:)?\d+:\d+(?:\/(?:tcp|udp))?$/)).optional(),
    healthcheck: healthcheck.optional(),
  })
  .refine((entry) => entry.networks === undefined || entry.network_mode === undefined, {
    error: "networks and network_mode exclude each other",
  });

const network = z.strictObject({
  internal: z.boolean().optional(),
  ipam: z.strictObject({ config: z.array(z.strictObject({ subnet: z.cidrv4() })) }),
});

/** The whole file, after anchors and merge keys; extension fields (`x-…`) hold what the anchors name. */
export const composeFile = z
  .object({
    name,
    services: z.record(name, service),
    networks: z.record(name, network),
    volumes: z.record(name, z.null()),
  })
  .catchall(z.unknown())
  .refine((file) => Object.keys(file).every((key) => TOP_LEVEL.includes(key) || key.startsWith("x-")), {
    error: "unknown key at the top level",
  });

const TOP_LEVEL = ["name", "services", "networks", "volumes"];

/** A decoded Compose file. */
export type ComposeFile = z.infer<typeof composeFile>;
