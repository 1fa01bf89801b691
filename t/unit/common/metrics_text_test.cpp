#include "common/metrics_text.hpp"

#include "t/unit/cmocka.hpp"

using namespace sluice;

static void counters_and_labels(void**) {
    char out[512];
    MetricsText text(out, sizeof(out));
    text.family("a_total", "counter", "Things.");
    text.sample("", "", 7);
    text.sample("kind", "x", 18446744073709551615U);
    text.sample("kind", "y", 12005, 10000);
    text.sample("kind", "x", "of", "y", 1);
    assert_true(text.fits());
    assert_text_equal({out, text.size()},
                      "# HELP a_total Things.\n# TYPE a_total counter\na_total 7\n"
                      "a_total{kind=\"x\"} 18446744073709551615\na_total{kind=\"y\"} 1.2005\n"
                      "a_total{kind=\"x\",of=\"y\"} 1\n");
}

static void histograms_cumulate_and_scale(void**) {
    char out[512];
    MetricsText text(out, sizeof(out));
    const uint64_t bounds[] = {250, 1000, 1500000};
    const uint64_t counts[] = {1, 0, 2, 4};
    text.family("t_seconds", "histogram", "Time.");
    text.histogram(bounds, counts, 3, 2000005, 1000000);
    assert_text_equal({out, text.size()},
                      "# HELP t_seconds Time.\n# TYPE t_seconds histogram\n"
                      "t_seconds_bucket{le=\"0.00025\"} 1\nt_seconds_bucket{le=\"0.001\"} 1\n"
                      "t_seconds_bucket{le=\"1.5\"} 3\nt_seconds_bucket{le=\"+Inf\"} 7\n"
                      "t_seconds_sum 2.000005\nt_seconds_count 7\n");
}

static void labels_that_all_samples_have(void**) {
    char out[512];
    MetricsText text(out, sizeof(out));
    const uint64_t bounds[] = {10};
    const uint64_t counts[] = {1, 2};
    text.family("a", "gauge", "Things.");
    text.labels("x=\"1\",y=\"2\"");
    text.sample("", "", 7);
    text.sample("kind", "z", 8);
    text.sample("kind", "z", "of", "w", 9);
    text.histogram(bounds, counts, 1, 50, 1);
    text.labels("");
    text.sample("", "", 10);
    text.counter("b_total", "Others.", 3);
    text.gauge("c", "More.", 4);
    assert_text_equal({out, text.size()},
                      "# HELP a Things.\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 7\n"
                      "a{x=\"1\",y=\"2\",kind=\"z\"} 8\n"
                      "a{x=\"1\",y=\"2\",kind=\"z\",of=\"w\"} 9\n"
                      "a_bucket{x=\"1\",y=\"2\",le=\"10\"} 1\n"
                      "a_bucket{x=\"1\",y=\"2\",le=\"+Inf\"} 3\n"
                      "a_sum{x=\"1\",y=\"2\"} 50\na_count{x=\"1\",y=\"2\"} 3\na 10\n"
                      "# HELP b_total Others.\n# TYPE b_total counter\nb_total 3\n"
                      "# HELP c More.\n# TYPE c gauge\nc 4\n");
}

static void what_does_not_fit_is_told(void**) {
    char out[40];
    for (size_t room = 0; room < sizeof(out); room++) {
        MetricsText text(out, room);
        text.family("a_total", "counter", "Things.");
        assert_false(text.fits());
        text.sample("", "", 1);
        assert_false(text.fits());
    }
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_labels),
        cmocka_unit_test(histograms_cumulate_and_scale),
        cmocka_unit_test(labels_that_all_samples_have),
        cmocka_unit_test(what_does_not_fit_is_told),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
