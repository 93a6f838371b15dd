"""The answer of MySQL or MariaDB to a statement, taken apart as it comes.

aiomysql waits twice for each packet and makes an object of it, and each row is a packet, as is each
column's description. Here whatever has come is taken apart at once, and a description that is the
same as that of the statement's last answer is only compared with it.

The packets are those of the text protocol, without CLIENT_DEPRECATE_EOF:
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pymysql.constants import CR, FIELD_TYPE, SERVER_STATUS
from pymysql.err import OperationalError, raise_mysql_exception

# What the first byte of a packet says, and that of a value: its length, or how long that is.
_OK, _NULL, _EOF, _ERROR = 0, 0xFB, 0xFE, 0xFF
_TWO_BYTES = 0xFC  # else three: no value of ours is longer
# How many bytes a number takes after its first byte, by that byte; a smaller one is the number.
_NUMBER_BYTES = {0xFC: 2, 0xFD: 3, 0xFE: 8}
# Bytes of a packet's head, and of the whole packet that ends descriptions or rows.
_HEAD, _END = 4, 9
_CHUNK_BYTES = 1 << 18
_BINARY = 63  # the character set of what is no text
_TEXTS = {
    FIELD_TYPE.VARCHAR,
    FIELD_TYPE.VAR_STRING,
    FIELD_TYPE.STRING,
    FIELD_TYPE.TINY_BLOB,
    FIELD_TYPE.BLOB,
    FIELD_TYPE.MEDIUM_BLOB,
    FIELD_TYPE.LONG_BLOB,
}

# From the text of a value. A type that has none is a text, unless it is binary.
Converters = Mapping[Any, Callable[[bytes], Any]]


class Columns(NamedTuple):
    """A statement's columns: the packets that describe them, and what makes rows and values."""

    packets: bytes
    names: tuple[str, ...]
    row_type: type
    converters: tuple[Callable[[bytes], Any], ...]


class Answer(NamedTuple):
    """The rows of a statement, or of the first result of a procedure; no columns, no rows."""

    columns: Columns | None
    rows: list[Any]


@lru_cache(maxsize=1024)
def _row_type(columns: tuple[str, ...]) -> type:
    """The rows of these columns."""
    indexes = {name: index for index, name in enumerate(columns)}

    class MysqlRow(tuple[Any, ...]):
        __slots__ = ()

        def __getitem__(self, key: Any) -> Any:
            return tuple.__getitem__(self, indexes[key] if isinstance(key, str) else key)

    return MysqlRow


class AnswerReader:
    """Reads one answer from a connection. A column's name goes before its type.

    A column of which neither is known is a text.
    """

    def __init__(
        self, reader: asyncio.StreamReader, by_type: Converters, by_name: Converters
    ) -> None:
        self._reader = reader
        self._by_type = by_type
        self._by_name = by_name
        self._data = b""
        self._at = 0  # where the next packet begins

    async def read(self, known: Columns | None) -> Answer:
        """The answer. `known`: the columns of the statement's last answer.

        Raises pymysql's errors: what the server says, and OperationalError of CR_SERVER_LOST for a
        connection that is of no use any more.
        """
        end = await self._packet()
        if self._data[3] != 1:
            # Not the second packet of this exchange: the server's last word, whatever it is.
            raise _lost()
        answer: Answer | None = None
        while True:
            data, at = self._data, self._at
            kind = data[at + _HEAD]
            if kind == _OK:
                self._at = end
                status = _status_of_ok(data, at)
                found = Answer(None, [])
            else:
                columns = await self._columns(kind, known)
                found, status = Answer(columns, []), 0
                while (end := await self._rows(found)) == 0:
                    pass
                status = self._data[end - 2]
            if answer is None:
                answer = found
            if not status & SERVER_STATUS.SERVER_MORE_RESULTS_EXISTS:
                return answer
            end = await self._packet()

    async def _packet(self) -> int:
        """Where the next packet ends, once all of it has come. Raises what it says went wrong."""
        while True:
            data, at = self._data, self._at
            if len(data) >= at + _HEAD:
                end = at + _HEAD + int.from_bytes(data[at : at + 3], "little")
                if len(data) >= end:
                    if data[at + _HEAD] == _ERROR:
                        raise_mysql_exception(data[at + _HEAD : end])
                    return end
            came = await self._reader.read(_CHUNK_BYTES)
            if not came:
                raise _lost()
            self._data, self._at = data[at:] + came, 0

    async def _columns(self, count: int, known: Columns | None) -> Columns:
        """What describes so many columns."""
        if count >= _NULL:
            # A file is asked for, which no statement of ours reads.
            raise _lost()
        if known is not None and self._data.startswith(known.packets, self._at):
            self._at += len(known.packets)
            return known
        packets, names, converters = [], [], []
        for number in range(count + 2):
            end = await self._packet()
            packets.append(self._data[self._at : end])
            self._at = end
            # The first packet is the count, the last one their end.
            if 0 < number <= count:
                name, converter = self._column(packets[-1])
                names.append(name)
                converters.append(converter)
        names_of_all = tuple(names)
        return Columns(b"".join(packets), names_of_all, _row_type(names_of_all), tuple(converters))

    def _column(self, packet: bytes) -> tuple[str, Callable[[bytes], Any]]:
        """The name of a column, and what makes values of it."""
        at = _HEAD
        # Catalogue, schema, table, table's own name, name, column's own name.
        texts = []
        for _ in range(6):
            length, at = _number(packet, at)
            texts.append(packet[at : at + length])
            at += length
        name = texts[4].decode()
        charset = int.from_bytes(packet[at + 1 : at + 3], "little")
        kind = packet[at + 7]
        if name in self._by_name:
            return name, self._by_name[name]
        if kind in _TEXTS:
            return name, bytes if charset == _BINARY else bytes.decode
        return name, self._by_type.get(kind, bytes.decode)

    async def _rows(self, found: Answer) -> int:
        """Take the rows that are there; where the packet that ends them does, or 0."""
        assert found.columns is not None  # noqa: S101
        end = await self._packet()
        _, _, row_type, converters = found.columns
        rows = found.rows
        only = converters[0] if len(converters) == 1 else None
        data, at = self._data, self._at
        whole = len(data)
        while end <= whole:
            at += _HEAD
            kind = data[at]
            if kind >= _EOF and (kind == _ERROR or end - at + _HEAD == _END):
                self._at = at - _HEAD
                end = await self._packet()
                self._at = end
                return end
            if only is not None and kind != _NULL:
                # The rest of the packet, whatever its length.
                at += 1 if kind < _NULL else 3 if kind == _TWO_BYTES else 4
                values = [only(data[at:end])]
            else:
                values = _values(data, at, converters)
            rows.append(row_type(values))
            self._at = at = end
            if at + _HEAD > whole:
                break
            end = at + _HEAD + (data[at] | data[at + 1] << 8 | data[at + 2] << 16)
        return 0


def _values(data: bytes, at: int, converters: Sequence[Callable[[bytes], Any]]) -> list[Any]:
    """The values of a row that begins there."""
    values: list[Any] = []
    for convert in converters:
        length = data[at]
        at += 1
        if length == _NULL:
            values.append(None)
            continue
        if length > _NULL:
            wide = 2 if length == _TWO_BYTES else 3
            length = int.from_bytes(data[at : at + wide], "little")
            at += wide
        values.append(convert(data[at : at + length]))
        at += length
    return values


def _status_of_ok(data: bytes, at: int) -> int:
    """The lower byte of the status in a packet that says that it was done."""
    at += _HEAD + 1
    for _ in range(2):  # the rows that it changed, the last id that it gave
        _, at = _number(data, at)
    return data[at]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends."""
    first = data[at]
    at += 1
    if first < _NULL:
        return first, at
    end = at + _NUMBER_BYTES[first]
    return int.from_bytes(data[at:end], "little"), end


def _lost() -> OperationalError:
    return OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")
