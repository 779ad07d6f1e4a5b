import java.io.PrintStream;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Collectors;
import org.igniterealtime.smack.inttest.AbstractSmackIntTest;
import org.igniterealtime.smack.inttest.Configuration;
import org.igniterealtime.smack.inttest.FailedTest;
import org.igniterealtime.smack.inttest.SmackIntegrationTestFramework;
import org.igniterealtime.smack.inttest.XmppConnectionDescriptor;
import org.igniterealtime.smack.inttest.XmppConnectionManager;
import org.jivesoftware.smack.c2s.ModularXmppClientToServerConnection;
import org.jivesoftware.smack.c2s.ModularXmppClientToServerConnectionConfiguration;
import org.jivesoftware.smack.compression.CompressionModuleDescriptor;
import org.jivesoftware.smack.tcp.XMPPTCPConnection;
import org.jivesoftware.smack.tcp.XMPPTCPConnectionConfiguration;
import org.reflections.Reflections;

/**
 * Runs Smack's integration tests against a server on any port. The framework's own options are the system properties
 * `sinttest.*`.
 *
 * `java Runner.java PORT OUTPUT [CLASS | CLASS.METHOD]...`: these, each by itself with accounts of its own; without any, all.
 * In OUTPUT a line for each test: outcome (passed, failed, impossible), name, milliseconds, what was wrong; between tabs.
 */
public class Runner {
    /** A run that can be asked for its result though it ended early. */
    private static final class Run extends SmackIntegrationTestFramework {
        private Run() throws Exception {
            super(Configuration.newConfiguration(new String[0]));
        }

        private TestRunResult result() {
            return testRunResult;
        }
    }

    public static void main(String[] args) throws Exception {
        connectTo(Integer.parseInt(args[0]));
        List<String> tests = Arrays.asList(args).subList(2, args.length);
        try (PrintStream out = new PrintStream(Files.newOutputStream(Path.of(args[1])), true, StandardCharsets.UTF_8)) {
            if (tests.isEmpty()) {
                List<String> all = classes();
                // It leaves subscriptions that are just being ended, which come in the way of whatever runs next.
                List<String> apart = all.stream().filter(name -> name.endsWith(".EntityCapsTest")).toList();
                all.removeAll(apart);
                run(all, out);
                run(apart, out);
            }
            for (String test : tests) run(List.of(test), out);
        }
        // Threads of connections that were not closed well are no reason to stay.
        System.exit(0);
    }

    /** Together, with the same accounts; a run that ends before all of them had their turn is done again, one by one. */
    private static void run(List<String> tests, PrintStream out) throws Exception {
        long began = System.currentTimeMillis();
        System.setProperty("sinttest.enabledTests", String.join(",", tests));
        Run framework = new Run();
        Throwable end = null;
        try {
            framework.run();
        } catch (Exception | Error thrown) {
            boolean nothing = "No integration tests selected.".equals(thrown.getMessage());
            if (!nothing) end = thrown;
        }
        if (end != null && tests.size() > 1) {
            System.err.println("Ended early: " + reasons(end));
            for (String test : tests) run(List.of(test), out);
            return;
        }
        SmackIntegrationTestFramework.TestRunResult result = framework.result();
        result.getSuccessfulTests().forEach(one -> line(out, "passed", one.concreteTest, one.duration, ""));
        for (FailedTest one : result.getFailedTests()) {
            line(out, "failed", one.concreteTest, one.duration, reasons(one.failureReason));
        }
        result.getNotPossibleTests().forEach(one -> line(out, "impossible", one.concreteTest, one.duration,
                one.testNotPossibleException.getMessage()));
        result.getImpossibleTestClasses().forEach(
                (type, reason) -> line(out, "impossible", type.getSimpleName(), 0, reason.getMessage()));
        if (end != null) {
            // `package.Class` and `package.Class.method`, without the package.
            String name = tests.get(0).replaceAll("^.*?\\.(?=[A-Z])", "");
            line(out, "failed", name, System.currentTimeMillis() - began, reasons(end));
        }
    }

    private static List<String> classes() {
        Reflections reflections = new Reflections("org.igniterealtime.smack", "org.jivesoftware.smack", "org.jivesoftware.smackx");
        return reflections.getSubTypesOf(AbstractSmackIntTest.class).stream()
                .filter(type -> !Modifier.isAbstract(type.getModifiers()))
                .sorted(Comparator.comparing(Class::getName)).map(Class::getName)
                .collect(Collectors.toCollection(ArrayList::new));
    }

    /** The framework knows the standard port only: its kinds of connection over TCP are declared again, with this one. */
    private static void connectTo(int port) throws Exception {
        XmppConnectionManager.addConnectionDescriptor(XmppConnectionDescriptor
                .buildWith(XMPPTCPConnection.class, XMPPTCPConnectionConfiguration.class,
                        XMPPTCPConnectionConfiguration.Builder.class)
                .withNickname("tcp").applyExtraConfiguration(builder -> builder.setPort(port)).build());
        for (boolean compress : new boolean[] { true, false }) {
            XmppConnectionManager.addConnectionDescriptor(XmppConnectionDescriptor
                    .buildWith(ModularXmppClientToServerConnection.class, ModularXmppClientToServerConnectionConfiguration.class,
                            ModularXmppClientToServerConnectionConfiguration.Builder.class)
                    .withNickname(compress ? "modular" : "modular-nocompress")
                    .applyExtraConfiguration(builder -> {
                        builder.setPort(port);
                        if (!compress) builder.removeModule(CompressionModuleDescriptor.class);
                    }).build());
        }
        XmppConnectionManager.removeConnectionDescriptor("modular-websocket-okhttp");
        XmppConnectionManager.removeConnectionDescriptor("modular-websocket-java11");
    }

    private static String reasons(Throwable thrown) {
        StringBuilder text = new StringBuilder(String.valueOf(thrown));
        for (Throwable cause = thrown.getCause(); cause != null; cause = cause.getCause()) text.append(" <- ").append(cause);
        return text.toString();
    }

    private static void line(PrintStream out, String outcome, Object test, long took, String reason) {
        String text = String.valueOf(reason).replaceAll("\\s+", " ").strip();
        // `Class.method (LowLevel, tcp)`: what matters of the kind of test is its connection.
        String name = test.toString().replaceAll(" \\((Normal|SpecificLowLevel)\\)$", "").replaceAll("\\(LowLevel, ", "(");
        out.println(String.join("\t", outcome, name, String.valueOf(took), text));
    }
}
