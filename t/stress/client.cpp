#include "t/stress/client.hpp"

#include <memory>
#include <new>

namespace sluice::stress {
namespace {

constexpr long kConnectTimeoutMs = 5000;
// A server that sends nothing for so long has gone.
constexpr long kQuietS = 60;
constexpr long kForever = -1;

struct ShareCleanup {
    void operator()(CURLSH* share) const noexcept { curl_share_cleanup(share); }
};

// What names stand for: each is looked up once, as that takes a thread and two files, which are not
// there for each of many connections.
CURLSH* names() {
    static const std::unique_ptr<CURLSH, ShareCleanup> share = [] {
        std::unique_ptr<CURLSH, ShareCleanup> made(curl_share_init());
        curl_share_setopt(made.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
        return made;
    }();
    return share.get();
}

size_t take_bytes(char* bytes, size_t, size_t size, void* take) {
    (*static_cast<const Take*>(take))({bytes, size});
    return size;
}

}  // namespace

HeaderList header_list(const std::vector<std::string>& lines) {
    curl_slist* list = nullptr;
    for (const std::string& line : lines) {
        if (!line.empty()) {
            list = curl_slist_append(list, line.c_str());
        }
    }
    return HeaderList(list);
}

Handle make_handle(const std::string& url, const curl_slist* headers, const Take* take) {
    Handle handle(curl_easy_init());
    if (!handle) {
        throw std::bad_alloc();
    }
    curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, &take_bytes);
    curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, take);
    curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle.get(), CURLOPT_SHARE, names());
    curl_easy_setopt(handle.get(), CURLOPT_DNS_CACHE_TIMEOUT, kForever);
    curl_easy_setopt(handle.get(), CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
    curl_easy_setopt(handle.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle.get(), CURLOPT_LOW_SPEED_TIME, kQuietS);
    curl_easy_setopt(handle.get(), CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    return handle;
}

GetAnswer get(const Options& options, const std::string& target, const Take& take) {
    const HeaderList headers = header_list({options.header});
    const Handle handle = make_handle(options.url + target, headers.get(), &take);
    const CURLcode result = curl_easy_perform(handle.get());
    long status = 0;
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &status);
    return {static_cast<int>(status), result == CURLE_OK ? "" : curl_easy_strerror(result)};
}

}  // namespace sluice::stress
