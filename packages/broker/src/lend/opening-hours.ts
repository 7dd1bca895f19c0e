/** Whether a moment lies within a policy's opening hours, by the wall clock of their time zone. Pure. */
import { type OpeningHours, WEEKDAYS } from "@muster/protocol";

const STEP_MS = 15 * 60_000;
const AHEAD_STEPS_MAX = 96;
const DAY_MINUTES = 24 * 60;

/** One formatter a time zone: making them is dear, and there are only so many zones. */
const formatters = new Map<string, Intl.DateTimeFormat>();

/** Hours over midnight belong to the day on which they began. The last minute is outside. */
export function isOpenAt(hours: OpeningHours, atMs: number): boolean {
  const { day, minute } = wallClock(hours.timeZone, atMs);
  const from = minutesOf(hours.from);
  const until = minutesOf(hours.until);
  const isDay = (index: number) => hours.days.some((name) => name === WEEKDAYS[(index + 7) % 7]);
  if (from < until) return isDay(day) && minute >= from && minute < until;
  return (isDay(day) && minute >= from) || (isDay(day - 1) && minute < until);
}

/** About how long it is closed from `atMs` on, to a quarter of an hour, and a day at most: a hint when to ask again. */
export function closedForMs(hours: OpeningHours, atMs: number): number {
  for (let step = 1; step <= AHEAD_STEPS_MAX; step += 1)
    if (isOpenAt(hours, atMs + step * STEP_MS)) return step * STEP_MS;
  return AHEAD_STEPS_MAX * STEP_MS;
}

/** The hours in one line, for refusals and offers. */
export function hoursText({ days, from, until, timeZone }: OpeningHours): string {
  return `${days.join(",")} ${from}-${until} ${timeZone}`;
}

function minutesOf(time: string): number {
  const [hour = "0", minute = "0"] = time.split(":");
  return (Number(hour) * 60 + Number(minute)) % (DAY_MINUTES + 1);
}

/** Day of the week, 0 for Monday, and minute of the day. */
function wallClock(timeZone: string, atMs: number): { readonly day: number; readonly minute: number } {
  const parts = formatterOf(timeZone).formatToParts(atMs);
  const part = (type: string) => parts.find((piece) => piece.type === type)?.value ?? "";
  const weekday = part("weekday").toLowerCase();
  const day = WEEKDAYS.findIndex((name) => name.startsWith(weekday));
  return { day, minute: Number(part("hour")) * 60 + Number(part("minute")) };
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const known = formatters.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  formatters.set(timeZone, made);
  return made;
}
