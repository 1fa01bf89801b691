// HTTP by libcurl, as all requests of a run have it.
#pragma once

#include <curl/curl.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "t/stress/options.hpp"

namespace sluice::stress {

struct CurlCleanup {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using Handle = std::unique_ptr<CURL, CurlCleanup>;
using HeaderList = std::unique_ptr<curl_slist, CurlCleanup>;

[[nodiscard]] HeaderList header_list(const std::vector<std::string>& lines);

// What comes is given to take as it comes.
using Take = std::function<void(std::string_view)>;
[[nodiscard]] Handle make_handle(const std::string& url, const curl_slist* headers,
                                 const Take* take);

struct GetAnswer {
    int status = 0;     // 0: none
    std::string error;  // why there is none, or not all of it
};
[[nodiscard]] GetAnswer get(const Options& options, const std::string& target, const Take& take);

}  // namespace sluice::stress
