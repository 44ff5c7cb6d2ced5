"""All rows of the table."""

from __future__ import annotations

import rows_body
import rows_head
import rows_response

ROWS = [*rows_head.rows(), *rows_body.rows(), *rows_response.rows()]

# Rows that pass here and neither in nginx nor in haproxy, each with the reason why that is right.
ONLY_HERE = {
    "tolerable response: NUL in the reason phrase": "the reason phrase is replaced (R4), so it reaches no caller",
}
