"""Compares the next planned times that the platform found with cronsim and croniter (contract J14).

Each line of the file: an expression, a time zone, a time, and the first planned time after it; times in seconds since
1970, separated by tabs. Exits with 1 if a difference has no known cause.
"""
import collections
import copy
import datetime
import functools
import multiprocessing
import re
import sys
import warnings
import zoneinfo

import croniter
import cronsim
import tzdata

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1)
# Zones whose clock was set back over midnight or at a quarter of an hour: with elapsed time cronsim goes back for ever.
ENDLESS = {"America/St_Johns", "Pacific/Chatham"}
ONE_VALUE = re.compile(r"\b(\d+)-\1(?![\d])")
MINUTE = datetime.timedelta(minutes=1)
# No clock is set back further.
REACH = datetime.timedelta(hours=26)


def offset(zone, moment):
    return moment.astimezone(zone).utcoffset()


@functools.lru_cache(maxsize=10)
def parsed(expression):
    """An iterator of cronsim without a zone: reading an expression costs more than an answer."""
    return cronsim.CronSim(expression, EPOCH)


@functools.cache
def zone_named(name):
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def cronsim_next(expression, zone, start, fixed):
    """The first answer of cronsim after start, for fixed hours or for elapsed time, and whether it gave others first:
    in the second hour of two equal ones it plans the first one again."""
    sim = copy.copy(parsed(expression))
    sim.dt = start.astimezone(zone)
    if fixed and zone is not UTC:
        sim.fixup_tz = zone
        sim.dt = sim.dt.replace(tzinfo=None)
    answers = (time.astimezone(UTC) for time in sim)
    first = next(answers)
    if first > start:
        return first, False
    return next(time for time in answers if time > start), True


def search(expression, zone, start, end, fixed):
    """The first planned time after start and up to end, found by looking at each minute."""
    matcher = parsed(expression)

    def matches(wall):
        return (
            wall.minute in matcher.minutes and wall.hour in matcher.hours and wall.month in matcher.months
            and matcher.match_day(wall.date())
        )

    # With fixed hours, wall times from before start occur again after it.
    moment = (start - (REACH if fixed else MINUTE)).replace(second=0)
    before, newest = offset(zone, moment - MINUTE), None
    while moment <= end:
        now = offset(zone, moment)
        wall = (moment + now).replace(tzinfo=None)
        planned = (not fixed or newest is None or wall > newest) and matches(wall)
        if fixed and now > before and not planned:
            missing = (wall - MINUTE * step for step in range(1, (now - before) // MINUTE + 1))
            planned = any(matches(time) for time in missing)
        if planned and moment > start:
            return moment
        newest = wall if newest is None else max(newest, wall)
        before = now
        moment += MINUTE
    return None


def changes_near(zone, moment):
    """Whether the clock changes within two days."""
    return len({offset(zone, moment + datetime.timedelta(hours=step)) for step in range(-48, 49)}) > 1


def confirmed(expression, zone, start, found, other, fixed):
    """Whether a search minute by minute finds our answer and not cronsim's; far from both nothing is looked at."""
    for time in sorted({found, other}):
        right = search(expression, zone, max(start, time - REACH), time, fixed)
        if right is not None:
            return right == found
    return False


def is_every_day(expression):
    """Whether a day field that is not a wildcard has all values."""
    matcher, fields = parsed(expression), expression.split()
    weekdays = {day % 7 for day in matcher.weekdays}
    return (len(matcher.days) == 31 and fields[2][0] != "*") or (len(weekdays) == 7 and fields[4][0] != "*")


def compare(line):
    """The names of what was compared or differs; an unknown difference begins with UNKNOWN."""
    expression, name, start, found = line.rstrip("\n").split("\t")
    zone = zone_named(name)
    start, found = (datetime.datetime.fromtimestamp(int(time), UTC) for time in (start, found))
    minute, hour = expression.split()[:2]
    fixed = not hour.startswith("*") and "/" not in hour
    if name in ENDLESS and not fixed:
        if search(expression, zone, max(start, found - 240 * MINUTE), found, fixed) != found:
            return [f"UNKNOWN: {line.strip()}: {found} here, not by a search"]
        return ["found by a search: cronsim does not end in some nights of this zone"]
    other, repeats = cronsim_next(expression, zone, start, fixed)
    names = ["cronsim plans the first of two equal hours again in the second"] if repeats else []
    if other != found:
        if fixed or not changes_near(zone, min(found, other)):
            return [f"UNKNOWN: {line.strip()}: {found} here, {other} by cronsim"]
        if not confirmed(expression, zone, start, found, other, fixed):
            return [f"UNKNOWN: {line.strip()}: {found} here, {other} by cronsim, which a search confirms"]
        # It steps by whole hours, over changes of half an hour and from midnights that do not exist.
        names.append("cronsim steps over a planned time at a clock change")
    # cronsim itself has other rules for what a fixed hour is.
    theirs = not minute.startswith("*") and not hour.startswith("*")
    if fixed != theirs and cronsim_next(expression, zone, start, theirs)[0] != found:
        names.append(
            "a wildcard in the minute field means elapsed time to cronsim"
            if fixed
            else "a stepped range of hours means fixed hours to cronsim"
        )
    if name == "UTC" and ONE_VALUE.search(expression):
        names.append("croniter reads a range of one value, such as 5-5, as all values")
    elif name == "UTC" and is_every_day(expression):
        names.append("croniter takes a list of all days for a wildcard")
    elif name == "UTC":
        names.append("compared with croniter")
        iterator = croniter.croniter(expression, start, implement_cron_bug=True, max_years_between_matches=60)
        answer = iterator.get_next(datetime.datetime)
        if answer != found:
            return [f"UNKNOWN: {line.strip()}: {found} here, {answer} by croniter"]
    return names


def main():
    warnings.simplefilter("ignore")
    with open(sys.argv[1], encoding="utf-8") as file:
        head, *lines = file.readlines()
    version = head.split()[-1]
    if version != tzdata.IANA_VERSION:
        print(f"the platform has the time zone data {version}: pin tzdata to it instead of {tzdata.IANA_VERSION}")
        return 1
    counts = collections.Counter()
    with multiprocessing.Pool() as pool:
        for names in pool.imap_unordered(compare, lines, chunksize=2000):
            counts.update(names)
    unknown = [name for name in counts if name.startswith("UNKNOWN")]
    for name in counts:
        if not name.startswith("UNKNOWN"):
            print(f"{counts[name]:7} {name}")
    print("\n".join(unknown[:50]))
    print(f"{len(lines)} planned times compared, {len(unknown)} unknown differences")
    return 1 if unknown or len(lines) < 200_000 else 0


if __name__ == "__main__":
    sys.exit(main())
