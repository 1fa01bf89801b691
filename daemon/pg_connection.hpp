// One connection to Postgres with a deadline on every wait: the socket is non-blocking and each
// command ends, by an answer or by closing the connection. Also the two things that must not be
// left half done: a Transaction rolls back unless it was committed, a CopyWriter aborts unless it
// was finished.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/pg_failure.hpp"
#include "daemon/pg_login.hpp"

struct pg_conn;
struct pg_result;

namespace sluice {

struct PgError {
    PgFailure failure = PgFailure::kNone;
    std::string sqlstate;  // empty when Postgres did not answer
    // Postgres' primary message: no detail, as details hold data; those of kBadData hold some too.
    std::string message;
    // For the log: without those that hold data.
    [[nodiscard]] std::string_view told() const noexcept;
    uint64_t copy_line = 0;  // that COPY was at, from 1; 0 if not known, and only a hint
};

class PgRows {
  public:
    explicit PgRows(pg_result* result) noexcept : result_(result) {}

    // False if the command failed; the connection's error() says why.
    explicit operator bool() const noexcept { return result_ != nullptr; }
    [[nodiscard]] int count() const noexcept;
    [[nodiscard]] std::string_view text(int row, int column) const noexcept;
    [[nodiscard]] int64_t integer(int row, int column) const noexcept;
    // How many rows a command that returns none has changed.
    [[nodiscard]] uint64_t affected() const noexcept;

  private:
    friend class PgConnection;
    friend class CopyWriter;
    friend class Transaction;
    struct Clear {
        void operator()(pg_result* result) const noexcept;
    };
    std::unique_ptr<pg_result, Clear> result_;
};

// How a server is spoken to.
struct PgWay {
    std::string host;
    bool local = false;  // by a Unix socket, or the loopback
    bool tls = false;
    bool verified = false;  // it is known to be the server that was meant
};

struct PgOptions {
    PgLogin login;
    std::string application_name;
    std::string session;  // SQL that is run once connected
    int64_t timeout_ms = 30000;
};

class PgConnection {
  public:
    explicit PgConnection(PgOptions options) : options_(std::move(options)) {}

    [[nodiscard]] bool connect();
    // For whom the next commands are: when that socket is hung up, what is under way is given up
    // and the connection closed. -1: nobody in particular.
    void work_for(int client_fd) noexcept { client_fd_ = client_fd; }
    void close() noexcept { connection_.reset(); }
    // The server keeps to another one from the next connect on, so this may close the connection.
    void set_timeout(int64_t ms) noexcept;
    [[nodiscard]] bool is_open() const noexcept { return connection_ != nullptr; }

    // Several statements without parameters and without rows that matter.
    [[nodiscard]] bool execute(const std::string& sql);
    // That the server answers, within a time of its own.
    [[nodiscard]] bool ping(int64_t timeout_ms);
    // One statement; parameters in text form.
    [[nodiscard]] PgRows query(const char* sql, const std::vector<const char*>& values = {});
    // The same for a result that may be larger than memory: each row is given away as it comes.
    // After the first that on_row does not want no more are read; if there are, by closing the
    // connection.
    using OnRow = std::function<bool(const PgRows& row)>;
    [[nodiscard]] bool query_rows(const char* sql, const std::vector<const char*>& values,
                                  const OnRow& on_row);

    // Of a connection that is open.
    [[nodiscard]] PgWay way() const;

    [[nodiscard]] const PgError& error() const noexcept { return error_; }
    // For what the server would have taken and the caller does not.
    void set_error(PgError error) noexcept { error_ = std::move(error); }

  private:
    friend class CopyWriter;
    friend class Transaction;
    struct Finish {
        void operator()(pg_conn* connection) const noexcept;
    };

    void start_deadline() noexcept;
    [[nodiscard]] bool send(const char* sql, const std::vector<const char*>& values);
    [[nodiscard]] bool wait_socket(short events);
    [[nodiscard]] bool flush();
    // Reads results until libpq says there are no more, or COPY IN begins; keeps the last good
    // one, or the first failure as error(). Rows that come one by one are on_row's.
    [[nodiscard]] PgRows collect(const OnRow& on_row = {});
    bool lose(const char* what);
    void keep_failure(const pg_result* result);

    PgOptions options_;
    std::unique_ptr<pg_conn, Finish> connection_;
    PgError error_;
    int64_t deadline_us_ = 0;
    int client_fd_ = -1;
};

class Transaction {
  public:
    explicit Transaction(PgConnection* connection) noexcept : connection_(connection) {}
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    [[nodiscard]] bool begin();
    [[nodiscard]] bool commit();

  private:
    PgConnection* connection_;
    bool open_ = false;
};

class CopyWriter {
  public:
    explicit CopyWriter(PgConnection* connection) noexcept : connection_(connection) {}
    ~CopyWriter();
    CopyWriter(const CopyWriter&) = delete;
    CopyWriter& operator=(const CopyWriter&) = delete;

    [[nodiscard]] bool begin(const char* copy_sql);
    [[nodiscard]] bool write(std::string_view bytes);
    // *rows is what Postgres counted.
    [[nodiscard]] bool finish(uint64_t* rows);

  private:
    PgConnection* connection_;
    bool open_ = false;
};

}  // namespace sluice
