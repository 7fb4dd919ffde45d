"""`POST /batch`: many operations in one request, each for itself."""

from collections.abc import Sequence
from contextlib import ExitStack

from msgspec import DecodeError
from msgspec.json import Decoder
from prometheus_client import Counter
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.logger import Logger

from stor.blobs.api.operations import Asked, Delete, Get, Operation, Put, Result, Results
from stor.blobs.api.places import Places, Taken
from stor.blobs.api.reading import DEFAULT_TYPE
from stor.blobs.api.targets import tenant_of
from stor.blobs.fragments import moment
from stor.blobs.rules import Entry, check_path
from stor.blobs.tenants import Trees
from stor.blobs.tree import Tree
from stor.errors import BadRequest, Failed, Forbidden, TooLarge
from stor.streams import whole
from stor.web.answer import Answer, json_answer
from stor.web.answers import is_expected, status_of
from stor.web.call import Call

log = Logger()

BODY_BYTES = 8 << 20  # that come
CONTENT_BYTES = 8 << 20  # that all gets together give
AT_ONCE = 32  # paths that are worked on
BATCHES, BATCHES_EACH = 16, 8  # at once in all, and of one principal: each may hold its body and its answer
BUSY_SECONDS = 1.0  # after which a place may be free
PIECE_BYTES = 1 << 16
_decoder = Decoder(Asked)


class Batch:
    """One handler; a put has at most `most` bytes, `counter` counts operations by kind and class of status."""

    def __init__(self, trees: Trees, most: int, counter: Counter) -> None:
        self._trees, self._most, self._counter = trees, most, counter
        self._places = Places("batches", BATCHES, BATCHES_EACH, BUSY_SECONDS)

    async def run(self, call: Call) -> Answer:
        """Do all; the answer is 200 whatever became of each, and has its place until it is read."""
        place = self._places.take(call.principal)
        with ExitStack() as unless:
            unless.callback(place.leave)
            answer = await self._answer(call)
            if isinstance(answer.body, bytes) and len(answer.body) > PIECE_BYTES:
                answer = Answer(answer.status, answer.headers, _Held(answer.body, place))
                unless.pop_all()
            return answer

    async def _answer(self, call: Call) -> Answer:
        asked = _read(call)
        writes = any(not isinstance(operation, Get) for operation in asked)
        if writes and not (call.principal and call.principal.may("blobs:write")):
            raise Forbidden("this needs the permission blobs:write")
        async with self._trees.lend(tenant_of(call)) as tree:
            results = await _Run(tree, asked, self._most).results()
        for operation, result in zip(asked, results, strict=True):
            kind = str(operation.__struct_config__.tag)
            self._counter.labels(kind, f"{result.status // 100}xx").inc()
        return json_answer(Results(results))


def _read(call: Call) -> Sequence[Operation]:
    """A page elsewhere can send text to us without asking, but not JSON: so it must be called JSON."""
    kind = (call.header("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest("A batch is application/json")
    try:
        return _decoder.decode(call.content).operations
    except DecodeError as why:
        raise BadRequest(f"The batch is not what was expected: {why}") from None
    except RecursionError:
        raise BadRequest("The batch is not what was expected: it is nested too deeply") from None


class _Held:
    """A large answer as a Stream, whose place is free when it has gone or its reader has."""

    def __init__(self, content: bytes, place: Taken) -> None:
        self.length: int | None = len(content)
        self._rest, self._place = memoryview(content), place

    async def read(self) -> bytes:
        """Give a piece."""
        piece, self._rest = bytes(self._rest[:PIECE_BYTES]), self._rest[PIECE_BYTES:]
        return piece

    def close(self) -> None:
        """Let others have the place."""
        self._rest = self._rest[:0]
        self._place.leave()


class _Run:
    """One batch under way; what its gets may still bring is `left`, in bytes."""

    def __init__(self, tree: Tree, asked: Sequence[Operation], most: int) -> None:
        self._tree, self._asked, self._most, self._left = tree, asked, most, CONTENT_BYTES
        self._results: dict[int, Result] = {}

    async def results(self) -> list[Result]:
        """Do what concerns one path in its order, and different paths at once: their records share a segment."""
        paths: dict[str, list[int]] = {}
        for number, operation in enumerate(self._asked):
            paths.setdefault(operation.path, []).append(number)
        places = DeferredSemaphore(AT_ONCE)
        try:
            await gatherResults([places.run(self._begin, numbers) for numbers in paths.values()], consumeErrors=True)
        except FirstError as why:  # it was cancelled: every other error is in a result
            why.subFailure.raiseException()
        return [self._results[number] for number in range(len(self._asked))]

    def _begin(self, numbers: Sequence[int]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._in_order(numbers))

    async def _in_order(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            operation = self._asked[number]
            try:
                self._results[number] = await self._do(operation)
            except CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - each is told in its result
                self._results[number] = _refused(operation.path, error)

    async def _do(self, operation: Operation) -> Result:
        path = operation.path
        check_path(path)
        match operation:
            case Put():
                kind, condition, body = operation.content_type, operation.condition(), operation.body()
                if len(body) > self._most:
                    raise TooLarge(f"A file has at most {self._most} bytes")
                written = await self._tree.put(path, body, content_type=kind, condition=condition)
                return _done(201 if written.created else 200, written.entry)
            case Delete():
                return _done(204, await self._tree.delete(path, operation.condition()))
            case Get():
                return await self._get(operation)

    async def _get(self, operation: Get) -> Result:
        blob = await self._tree.get(operation.path)
        entry = blob.entry
        if entry.size > self._left:
            if not isinstance(blob.body, bytes):
                blob.body.close()
            raise TooLarge("The gets of this batch bring too much: get this file by itself")
        self._left -= entry.size
        result = _done(200, entry)
        result.content = operation.shown(await whole(blob.body, entry.size))
        result.content_type = entry.content_type or DEFAULT_TYPE
        return result


def _done(status: int, entry: Entry) -> Result:
    return Result(status, entry.path, entry.md5, entry.version, entry.size, moment(entry.modified))


def _refused(path: str, error: Exception) -> Result:
    status = status_of(error)
    if not is_expected(error):
        log.failure("an operation of a batch broke")
        error = Failed()
    code, context = getattr(error, "code", None), getattr(error, "context", None)
    detail = str(error) or status.phrase
    return Result(status.value, path, detail=detail, error_code=code, context=context)
