import assert from "node:assert/strict";
import { test } from "node:test";
import { dateGroup } from "../../client/page/date-groups.js";

const NOW = new Date(2026, 2, 10, 0, 30).getTime();
const group = (...date) => dateGroup(new Date(...date).getTime(), NOW, { translate: (name) => name, language: "en" });

test("conversations are grouped by the calendar's days, then by months", () => {
  assert.equal(group(2026, 2, 10, 0, 1), "today");
  assert.equal(group(2026, 2, 10, 9), "today"); // by a clock that is ahead
  assert.equal(group(2026, 2, 9, 23, 59), "yesterday"); // half an hour ago
  assert.equal(group(2026, 2, 8, 23, 59), "last_7_days");
  assert.equal(group(2026, 2, 3), "last_7_days");
  assert.equal(group(2026, 2, 2), "March 2026");
  assert.equal(group(2025, 11, 31), "December 2025");
});
