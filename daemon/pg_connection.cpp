#include "daemon/pg_connection.hpp"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "daemon/clock.hpp"
#include "daemon/pulse.hpp"
#include "daemon/socket_peer.hpp"

namespace sluice {
namespace {

// What a connection string may say otherwise. Seconds to connect, of each host; seconds of silence
// after which a server is asked whether it is there; milliseconds that sent data may wait for a
// word of it.
constexpr std::pair<const char*, const char*> kDefaults[] = {
    {"connect_timeout", "5"}, {"keepalives_idle", "10"}, {"tcp_user_timeout", "10000"}};
// The same for the other end, whose keepers are the system's: two hours. Postgres asks nobody while
// it waits for the rows of a COPY, no statement's time ends that, and what it has locked stays so:
// frames that it has begun, from a loader whose machine is gone, could not be stored by others.
constexpr char kServerSide[] =
    "; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
    "; SET tcp_user_timeout = 25000; ";
// The server gives up first, so that its answer says why; this is for a server that hangs.
constexpr int64_t kGraceMs = 5000;

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
        text.remove_suffix(1);
    }
    return text;
}

}  // namespace

// Of a connection that was lost, too: what Postgres had said before is its message then.
std::string_view PgError::told() const noexcept {
    const bool has_constraint = failure != PgFailure::kNoPartition;
    return classify_sqlstate(sqlstate, has_constraint) == PgFailure::kBadData
               ? "(about the data, so not told here)"
               : std::string_view(message);
}

void PgRows::Clear::operator()(pg_result* result) const noexcept {
    PQclear(result);
}

int PgRows::count() const noexcept {
    return PQntuples(result_.get());
}

std::string_view PgRows::text(int row, int column) const noexcept {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

int64_t PgRows::integer(int row, int column) const noexcept {
    const std::string_view value = text(row, column);
    int64_t parsed = 0;
    std::from_chars(value.data(), value.data() + value.size(), parsed);
    return parsed;
}

uint64_t PgRows::affected() const noexcept {
    return strtoull(PQcmdTuples(result_.get()), nullptr, 10);
}

void PgConnection::Finish::operator()(pg_conn* connection) const noexcept {
    PQfinish(connection);
}

bool PgConnection::connect() {
    error_ = {};
    connection_.reset();
    PgParameters parameters;
    std::string wrong;
    if (!read_login(options_.login, &parameters, &wrong)) {
        return lose(("cannot connect: " + wrong).c_str());
    }
    parameters["application_name"] = options_.application_name;
    parameters["client_encoding"] = "UTF8";
    for (const auto& [name, value] : kDefaults) {
        parameters.emplace(name, value);
    }
    std::vector<const char*> names;
    std::vector<const char*> values;
    for (const auto& [name, value] : parameters) {
        names.push_back(name.c_str());
        values.push_back(value.c_str());
    }
    names.push_back(nullptr);
    values.push_back(nullptr);
    // Not PQconnectStart: only so libpq goes on to the next host, or the next address of a name,
    // when one does not answer.
    // libpq keeps a time limit of its own.
    pulse_rest();
    connection_.reset(PQconnectdbParams(names.data(), values.data(), 0));
    pulse();
    if (connection_ == nullptr) {
        return lose("cannot connect");
    }
    // Before anything else is read: libpq would write it to stderr, as it does with what comes
    // together with the end of the login.
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
    if (PQstatus(connection_.get()) != CONNECTION_OK ||
        PQsetnonblocking(connection_.get(), 1) != 0) {
        return lose("cannot connect");
    }
    const std::string timeout = std::to_string(options_.timeout_ms);
    return execute("SET statement_timeout = " + timeout +
                   "; SET idle_in_transaction_session_timeout = " + timeout + kServerSide +
                   options_.session);
}

void PgConnection::set_timeout(int64_t ms) noexcept {
    if (ms != options_.timeout_ms) {
        options_.timeout_ms = ms;
        close();
    }
}

void PgConnection::start_deadline() noexcept {
    error_ = {};
    deadline_us_ = steady_us() + (options_.timeout_ms + kGraceMs) * 1000;
}

bool PgConnection::wait_socket(short events) {
    // A negative one is left out by poll.
    pollfd waiting[] = {{PQsocket(connection_.get()), events, 0}, {client_fd_, POLLRDHUP, 0}};
    for (;;) {
        pulse();
        const int64_t left_ms = (deadline_us_ - steady_us()) / 1000;
        if (left_ms <= 0) {
            return false;
        }
        const int ready = poll(waiting, 2, static_cast<int>(std::min(left_ms, kPulseMs)));
        if (ready > 0 && waiting[1].revents != 0) {
            error_.message = "the client has gone";
            return false;
        }
        if (ready > 0) {
            return true;
        }
        if (ready < 0 && errno != EINTR) {
            return false;
        }
    }
}

bool PgConnection::flush() {
    for (;;) {
        const int left = PQflush(connection_.get());
        if (left == 0) {
            return true;
        }
        if (left < 0) {
            return lose("sending failed");
        }
        // Also readable: a server that has something to say first may not read on until then.
        if (!wait_socket(POLLIN | POLLOUT)) {
            return lose("sending took too long");
        }
        if (PQconsumeInput(connection_.get()) == 0) {
            return lose("connection lost");
        }
    }
}

PgRows PgConnection::collect(const OnRow& on_row) {
    PgRows kept(nullptr);
    bool wanted = true;
    for (;;) {
        while (PQisBusy(connection_.get()) != 0) {
            if (!wait_socket(POLLIN)) {
                lose("no answer in time");
                return PgRows(nullptr);
            }
            if (PQconsumeInput(connection_.get()) == 0) {
                lose("connection lost");
                return PgRows(nullptr);
            }
        }
        PgRows result(PQgetResult(connection_.get()));
        if (!result) {
            break;
        }
        const ExecStatusType status = PQresultStatus(result.result_.get());
        if (status == PGRES_COPY_IN) {
            return result;
        }
        if (status == PGRES_SINGLE_TUPLE) {
            if (!wanted) {
                close();
                return result;
            }
            wanted = on_row(result);
        } else if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
            kept = std::move(result);
        } else if (error_.failure == PgFailure::kNone) {
            keep_failure(result.result_.get());
        }
    }
    if (PQstatus(connection_.get()) == CONNECTION_BAD) {
        lose("connection lost");
    }
    return error_.failure == PgFailure::kNone ? std::move(kept) : PgRows(nullptr);
}

PgWay PgConnection::way() const {
    PgWay way;
    const char* const host = PQhost(connection_.get());
    way.host = host == nullptr ? "" : host;
    way.local = peer_is_local(PQsocket(connection_.get()));
    way.tls = PQsslInUse(connection_.get()) != 0;
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
        PQconninfo(connection_.get()), &PQconninfoFree);
    for (const PQconninfoOption* option = options.get();
         option != nullptr && option->keyword != nullptr; ++option) {
        if (std::string_view(option->keyword) == "sslmode" && option->val != nullptr) {
            way.verified = std::string_view(option->val) == "verify-full";
        }
    }
    return way;
}

bool PgConnection::execute(const std::string& sql) {
    return static_cast<bool>(query(sql.c_str()));
}

PgRows PgConnection::query(const char* sql, const std::vector<const char*>& values) {
    start_deadline();
    return send(sql, values) && flush() ? collect() : PgRows(nullptr);
}

bool PgConnection::query_rows(const char* sql, const std::vector<const char*>& values,
                              const OnRow& on_row) {
    start_deadline();
    // The mode must be set before anything else is done with the connection.
    return send(sql, values) && PQsetSingleRowMode(connection_.get()) == 1 && flush() &&
           collect(on_row);
}

bool PgConnection::ping(int64_t timeout_ms) {
    error_ = {};
    deadline_us_ = steady_us() + timeout_ms * 1000;
    return send("SELECT 1", {}) && flush() && collect();
}

bool PgConnection::send(const char* sql, const std::vector<const char*>& values) {
    if (!is_open()) {
        return lose("not connected");
    }
    // Only the simple protocol takes several statements at once.
    const int sent =
        values.empty() ? PQsendQuery(connection_.get(), sql)
                       : PQsendQueryParams(connection_.get(), sql, static_cast<int>(values.size()),
                                           nullptr, values.data(), nullptr, nullptr, 0);
    return sent != 0 || lose("sending failed");
}

// Closes the connection; always false.
bool PgConnection::lose(const char* what) {
    // An error that Postgres sent before it closed the connection tells more than the closing.
    std::string message = error_.message.empty() ? what : error_.message;
    if (error_.message.empty() && connection_ != nullptr) {
        const std::string_view detail = trimmed(PQerrorMessage(connection_.get()));
        if (!detail.empty()) {
            message.append(": ").append(detail);
        }
    }
    error_.failure = PgFailure::kLost;
    error_.message = std::move(message);
    close();
    return false;
}

void PgConnection::keep_failure(const pg_result* result) {
    const auto field = [result](int code) {
        const char* text = PQresultErrorField(result, code);
        return std::string(text != nullptr ? text : "");
    };
    error_.sqlstate = field(PG_DIAG_SQLSTATE);
    error_.message = field(PG_DIAG_MESSAGE_PRIMARY);
    error_.copy_line = copy_line(field(PG_DIAG_CONTEXT));
    const bool has_constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME) != nullptr;
    error_.failure = classify_sqlstate(error_.sqlstate, has_constraint);
}

Transaction::~Transaction() {
    if (!open_ || !connection_->is_open()) {
        return;
    }
    // Why it came to this is what error() is asked for, not how the rollback went. Closing the
    // connection is a rollback as well.
    PgError reason = connection_->error();
    if (!connection_->execute("ROLLBACK")) {
        connection_->close();
    }
    connection_->error_ = std::move(reason);
}

bool Transaction::begin() {
    open_ = connection_->execute("BEGIN");
    return open_;
}

bool Transaction::commit() {
    open_ = false;
    const PgRows done = connection_->query("COMMIT");
    if (!done) {
        return false;
    }
    // A transaction that had failed before answers COMMIT with ROLLBACK, which is no error.
    if (std::string_view(PQcmdStatus(done.result_.get())) != "COMMIT") {
        connection_->error_ = {PgFailure::kTransient, "", "COMMIT was answered with ROLLBACK", 0};
        return false;
    }
    return true;
}

CopyWriter::~CopyWriter() {
    if (open_ && connection_->is_open() &&
        PQputCopyEnd(connection_->connection_.get(), "abandoned") == 1 && connection_->flush()) {
        [[maybe_unused]] const PgRows refused = connection_->collect();
    }
}

bool CopyWriter::begin(const char* copy_sql) {
    PgRows started = connection_->query(copy_sql);
    open_ = started && PQresultStatus(started.result_.get()) == PGRES_COPY_IN;
    return open_;
}

bool CopyWriter::write(std::string_view bytes) {
    connection_->start_deadline();
    if (PQputCopyData(connection_->connection_.get(), bytes.data(),
                      static_cast<int>(bytes.size())) != 1) {
        return connection_->lose("COPY: sending failed");
    }
    // Flushed each time, so that libpq's buffer stays as small as a chunk.
    return connection_->flush();
}

bool CopyWriter::finish(uint64_t* rows) {
    open_ = false;
    connection_->start_deadline();
    if (PQputCopyEnd(connection_->connection_.get(), nullptr) != 1) {
        return connection_->lose("COPY: sending failed");
    }
    if (!connection_->flush()) {
        return false;
    }
    const PgRows done = connection_->collect();
    *rows = done ? done.affected() : 0;
    return static_cast<bool>(done);
}

}  // namespace sluice
