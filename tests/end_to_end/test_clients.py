"""Clients that people have, through stor: values, transactions and messages are as without it."""

import redis
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientCreator
from twisted.trial.unittest import SynchronousTestCase, TestCase
from txredisapi import Connection, SubscriberProtocol

from tests.proxies import ACL, PASSWORD, SECRET, USER, StorServer
from tests.servers import RedisServer


def start(case):
    """Start a Redis and stor in front of it, for one test."""
    server = RedisServer(config_lines=ACL)
    case.addCleanup(server.close)
    proxy = StorServer(server.start().url_as(USER, SECRET))
    case.addCleanup(proxy.close)
    return proxy.start()


class RedisPy:
    """What redis-py can do, in one of the two languages it speaks."""

    protocol: int

    def setUp(self):
        self.proxy = start(self)

    def connect(self):
        client = redis.Redis("127.0.0.1", self.proxy.port, password=PASSWORD, protocol=self.protocol, socket_timeout=10)
        self.addCleanup(client.close)
        return client

    def test_values(self):
        """Bytes come back as they went, whatever they are, and so do the shapes of answers."""
        client = self.connect()
        value = bytes(range(256)) * 4000 + b"\r\n*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"
        self.assertTrue(client.set("key", value))
        self.assertEqual(client.get("key"), value)
        client.hset("hash", mapping={"a": 1, "b": 2})
        self.assertEqual(client.hgetall("hash"), {b"a": b"1", b"b": b"2"})
        self.assertIn(client.acl_whoami(), (USER, USER.encode()))  # redis-py gives it as the protocol does
        self.assertRaises(redis.ResponseError, client.incr, "key")

    def test_transaction(self):
        """A transaction is done as a whole, and not at all when a watched key has changed."""
        client, other = self.connect(), self.connect()
        with client.pipeline() as pipe:
            pipe.set("count", 1).incr("count").get("count")
            self.assertEqual(pipe.execute(), [True, 2, b"2"])
            pipe.watch("count")
            pipe.multi()
            pipe.set("count", 10)
            other.set("count", 3)
            self.assertRaises(redis.WatchError, pipe.execute)
        self.assertEqual(client.get("count"), b"3")

    def test_messages(self):
        """Who subscribes gets what others publish, in order, and leaves again."""
        client, other = self.connect(), self.connect()
        with client.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe("news")
            self.assertIsNone(listener.get_message(timeout=5))  # the answer to SUBSCRIBE
            sent = [b"%d" % number for number in range(100)]
            self.assertEqual([other.publish("news", message) for message in sent], [1] * 100)
            self.assertEqual([listener.get_message(timeout=5)["data"] for _ in sent], sent)
            listener.unsubscribe("news")
            self.assertIsNone(listener.get_message(timeout=5))
            self.assertEqual(other.publish("news", b"nobody"), 0)


class RedisPy2(RedisPy, SynchronousTestCase):
    protocol = 2


class RedisPy3(RedisPy, SynchronousTestCase):
    protocol = 3


class Listener(SubscriberProtocol):
    """Collects what it is told."""

    def __init__(self, wanted):
        super().__init__(convertNumbers=False)
        self.password, self.got, self.wanted, self.complete = PASSWORD, [], wanted, Deferred()

    def messageReceived(self, pattern, channel, message):
        self.got.append(message)
        if len(self.got) == self.wanted:
            self.complete.callback(self.got)


class TxRedis(TestCase):
    timeout = 30

    def setUp(self):
        self.proxy = start(self)

    async def connect(self):
        client = await Connection("127.0.0.1", self.proxy.port, password=PASSWORD, convertNumbers=False)
        self.addCleanup(client.disconnect)
        return client

    async def test_values(self):
        """txredisapi, which says AUTH with one word, gets back what it has put."""
        client = await self.connect()
        value = "žluťoučký kůň\r\n" * 10_000
        self.assertEqual(await client.set("key", value), "OK")
        self.assertEqual(await client.get("key"), value)

    async def test_transaction(self):
        """Its transactions pass."""
        client = await self.connect()
        transaction = await client.multi()
        await transaction.set("count", 1)
        await transaction.incr("count")
        self.assertEqual(await transaction.commit(), ["OK", 2])

    async def test_messages(self):
        """Its subscribers hear what others publish."""
        client = await self.connect()
        listener = await ClientCreator(reactor, Listener, 10).connectTCP("127.0.0.1", self.proxy.port)
        self.addCleanup(listener.transport.loseConnection)
        await listener.subscribe("news")
        for number in range(10):
            self.assertEqual(await client.publish("news", str(number)), 1)
        self.assertEqual(await listener.complete, [str(number) for number in range(10)])
