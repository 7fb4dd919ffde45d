/* The compiled twin of framer.py and lane.py: the same promises, the same names; see there for the reasons.
 *
 * Nothing here decides anything: it skips frames by their announced length, moves bytes with one recv and one
 * send, and leaves every other case to Python. Property tests hold each function against its Python original.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { LINE = 64 * 1024, BUFFER = 256 * 1024, BATCH = 256, LONGEST = 7, NO_NAME = 512 << 20 };
enum { MOVED, LEFT, ENDED, BROKEN };
#define LARGEST (1LL << 62)

static char buffer[BUFFER]; /* nothing stays in it between two moves; guarded by the GIL */

/* ---- Framer ------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    long long args, skip;
    char opaque;
} Framer;

/* A signed 64-bit integer as strictly as Redis's string2ll; 0 when it is none. */
static int integer(const char *p, Py_ssize_t n, long long *value)
{
    int negative = n > 0 && *p == '-';
    unsigned long long v = 0, most = negative ? 1ULL << 63 : (1ULL << 63) - 1;

    if (n == 1 && *p == '0') {
        *value = 0;
        return 1;
    }
    p += negative, n -= negative;
    if (n < 1 || n > 19 || *p < '1' || *p > '9')
        return 0;
    for (; n; p++, n--) {
        if (*p < '0' || *p > '9')
            return 0;
        v = v * 10 + (unsigned long long)(*p - '0'); /* 19 digits fit in 64 bits without a sign */
    }
    if (v > most)
        return 0;
    *value = negative ? (long long)(0 - v) : (long long)v;
    return 1;
}

/* Read a mark, a number and CRLF; where it goes on, or -1 when more must come or it is doubtful. */
static Py_ssize_t header(Framer *f, const char *data, Py_ssize_t at, Py_ssize_t stop, char mark, long long *value)
{
    const char *begin = data + at, *end = memchr(begin, '\r', stop - at);

    if (end == NULL || end + 1 >= data + stop) {
        f->opaque = stop - at > LINE || memchr(begin, 0, (end ? end : data + stop) - begin) != NULL;
        return -1;
    }
    if (*begin != mark || !integer(begin + 1, end - begin - 1, value) ||
        (mark == '*' ? *value > 0x7FFFFFFF : *value < 0 || *value > LARGEST) || end[1] != '\n') {
        f->opaque = 1;
        return -1;
    }
    return end + 2 - data;
}

/* Whether a name, of which up to LONGEST bytes are looked at, is one of NAMES or has a NUL in it. */
static int is_read(const char *name, Py_ssize_t size)
{
    return (size == 4 && !strncasecmp(name, "AUTH", 4)) || (size == 5 && !strncasecmp(name, "HELLO", 5)) ||
           (size == 6 && !strncasecmp(name, "SCRIPT", 6)) || memchr(name, 0, size) != NULL;
}

/* Begin a frame that may pass unread; where it goes on, or -1 to wait or have it read. */
static Py_ssize_t begin(Framer *f, const char *data, Py_ssize_t at, Py_ssize_t stop)
{
    long long count, size;
    Py_ssize_t looked_at;

    if (data[at] != '*' || (at = header(f, data, at, stop, '*', &count)) < 0 || count <= 0)
        return -1;
    if (at == stop || (at = header(f, data, at, stop, '$', &size)) < 0)
        return -1;
    if (size > NO_NAME) {
        f->opaque = 1;
        return -1;
    }
    looked_at = size < LONGEST ? (Py_ssize_t)size : LONGEST;
    if (stop - at < looked_at || is_read(data + at, looked_at))
        return -1;
    f->args = count - 1;
    f->skip = size + 2;
    return at;
}

static Py_ssize_t scan(Framer *f, const char *data, Py_ssize_t at, Py_ssize_t stop)
{
    while (at < stop && !f->opaque) {
        Py_ssize_t next;
        if (f->skip) {
            Py_ssize_t step = f->skip < stop - at ? (Py_ssize_t)f->skip : stop - at;
            f->skip -= step;
            at += step;
            continue;
        }
        if (f->args) {
            long long size;
            if ((next = header(f, data, at, stop, '$', &size)) < 0)
                break;
            f->args--;
            f->skip = size + 2;
        } else if ((next = begin(f, data, at, stop)) < 0)
            break;
        at = next;
    }
    return f->opaque ? stop : at;
}

static PyObject *Framer_scan(Framer *self, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t start, stop;

    if (!PyArg_ParseTuple(args, "y*nn", &data, &start, &stop))
        return NULL;
    if (start < 0 || stop > data.len || start > stop) {
        PyBuffer_Release(&data);
        PyErr_SetString(PyExc_ValueError, "start and stop must lie within the data");
        return NULL;
    }
    start = scan(self, data.buf, start, stop);
    PyBuffer_Release(&data);
    return PyLong_FromSsize_t(start);
}

static PyObject *Framer_between(Framer *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(!self->args && !self->skip);
}

static PyMethodDef Framer_methods[] = {
    {"scan", (PyCFunction)Framer_scan, METH_VARARGS, "Advance; return up to where the data may pass."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef Framer_members[] = {
    {"args", T_LONGLONG, offsetof(Framer, args), 0, NULL},
    {"skip", T_LONGLONG, offsetof(Framer, skip), 0, NULL},
    {"opaque", T_BOOL, offsetof(Framer, opaque), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef Framer_properties[] = {
    {"between", (getter)Framer_between, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyTypeObject FramerType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "stor.redis._lane.Framer",
    .tp_basicsize = sizeof(Framer),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_methods = Framer_methods,
    .tp_members = Framer_members,
    .tp_getset = Framer_properties,
};

/* ---- Lane --------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Framer *framer; /* NULL: all passes */
    PyObject *rest; /* bytes */
    int src, dst, outcome, error;
    Py_ssize_t clean;
    long long total, stamp;
} Lane;

static long long moves;

static int Lane_init(Lane *self, PyObject *args, PyObject *named)
{
    PyObject *framer;
    int src, dst;

    if (named && PyDict_GET_SIZE(named)) {
        PyErr_SetString(PyExc_TypeError, "Lane takes no keyword arguments");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "iiO", &src, &dst, &framer))
        return -1;
    if (framer != Py_None && !Py_IS_TYPE(framer, &FramerType)) {
        PyErr_SetString(PyExc_TypeError, "framer must be a Framer of this module, or None");
        return -1;
    }
    self->src = src;
    self->dst = dst;
    if (framer != Py_None)
        Py_INCREF(framer);
    Py_XSETREF(self->framer, framer == Py_None ? NULL : (Framer *)framer);
    Py_XSETREF(self->rest, PyBytes_FromStringAndSize(NULL, 0));
    return self->rest ? 0 : -1;
}

static void Lane_dealloc(Lane *self)
{
    Py_XDECREF(self->framer);
    Py_XDECREF(self->rest);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Receive once, send once; the outcome, or -1 with an exception set when there is no memory. */
static int move(Lane *self)
{
    Py_ssize_t received = recv(self->src, buffer, BUFFER, 0), clean, sent = 0;
    PyObject *rest;

    if (received <= 0) {
        self->error = received ? errno : 0;
        return self->outcome = !received ? ENDED : self->error == EAGAIN || self->error == EINTR ? MOVED : BROKEN;
    }
    self->total += received;
    self->stamp = ++moves;
    clean = self->framer ? scan(self->framer, buffer, 0, received) : received;
    self->error = 0;
    if (clean && (sent = send(self->dst, buffer, clean, MSG_NOSIGNAL)) < 0) {
        self->error = errno == EAGAIN || errno == EINTR ? 0 : errno;
        sent = 0;
    }
    if (sent == received)
        return self->outcome = MOVED;
    rest = PyBytes_FromStringAndSize(buffer + sent, received - sent);
    if (rest == NULL)
        return -1;
    Py_XSETREF(self->rest, rest);
    self->clean = clean - sent;
    return self->outcome = LEFT;
}

static PyObject *Lane_move(Lane *self, PyObject *ignored)
{
    int outcome = move(self);
    (void)ignored;
    return outcome < 0 ? NULL : PyLong_FromLong(outcome);
}

static PyMethodDef Lane_methods[] = {
    {"move", (PyCFunction)Lane_move, METH_NOARGS, "Receive once, send once; return and keep the outcome."},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef Lane_members[] = {
    {"outcome", T_INT, offsetof(Lane, outcome), READONLY, NULL},
    {"error", T_INT, offsetof(Lane, error), READONLY, NULL},
    {"rest", T_OBJECT_EX, offsetof(Lane, rest), 0, NULL},
    {"clean", T_PYSSIZET, offsetof(Lane, clean), READONLY, NULL},
    {"total", T_LONGLONG, offsetof(Lane, total), 0, NULL},
    {"stamp", T_LONGLONG, offsetof(Lane, stamp), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyTypeObject LaneType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "stor.redis._lane.Lane",
    .tp_basicsize = sizeof(Lane),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Lane_init,
    .tp_dealloc = (destructor)Lane_dealloc,
    .tp_methods = Lane_methods,
    .tp_members = Lane_members,
};

/* ---- turn --------------------------------------------------------------------------------------------- */

static PyObject *turn(PyObject *module, PyObject *args)
{
    struct epoll_event ready[BATCH];
    PyObject *poll, *lanes, *odd = NULL;
    int i, n, fd;

    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &poll, &PyDict_Type, &lanes))
        return NULL;
    if ((fd = PyObject_AsFileDescriptor(poll)) < 0 || (odd = PyList_New(0)) == NULL)
        return NULL;
    n = epoll_wait(fd, ready, BATCH, 0);
    for (i = 0; i < n; i++) {
        PyObject *key = PyLong_FromLong(ready[i].data.fd), *entry;
        Lane *lane;
        int outcome = LEFT;

        if (key == NULL)
            goto failed;
        lane = (Lane *)PyDict_GetItemWithError(lanes, key); /* borrowed: nothing below runs Python code */
        Py_DECREF(key);
        if (lane == NULL && PyErr_Occurred())
            goto failed;
        if (lane && !Py_IS_TYPE(lane, &LaneType)) {
            PyErr_SetString(PyExc_TypeError, "lanes must hold Lane objects");
            goto failed;
        }
        if (lane && ready[i].events == EPOLLIN && (outcome = move(lane)) < 0)
            goto failed;
        if (outcome == MOVED)
            continue;
        if ((entry = Py_BuildValue("(iI)", ready[i].data.fd, ready[i].events)) == NULL)
            goto failed;
        if (PyList_Append(odd, entry) < 0) {
            Py_DECREF(entry);
            goto failed;
        }
        Py_DECREF(entry);
    }
    return odd;
failed:
    Py_XDECREF(odd);
    return NULL;
}

static PyMethodDef functions[] = {
    {"turn", turn, METH_VARARGS, "Move what is readable; give what wants a decision."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "stor.redis._lane", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__lane(void)
{
    PyObject *it;

    if (PyType_Ready(&FramerType) < 0 || PyType_Ready(&LaneType) < 0 || (it = PyModule_Create(&module)) == NULL)
        return NULL;
    if (PyModule_AddObjectRef(it, "Framer", (PyObject *)&FramerType) < 0 ||
        PyModule_AddObjectRef(it, "Lane", (PyObject *)&LaneType) < 0) {
        Py_DECREF(it);
        return NULL;
    }
    return it;
}
